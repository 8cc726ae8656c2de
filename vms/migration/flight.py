"""Migrations: those under way, with what libvirt says of them, and the latest that ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from hosts.models import Host
from jobs.models import Job, JobStatus
from jobs.visible import visible_jobs

SHOWN = 50


@dataclass(frozen=True)
class Flight:
    """A migration as its job tells; hosts are empty while none is chosen, figures 0 while libvirt has told none.

    Args:
        left, rate: bytes, and bytes a second.
        downtime_ms: expected, or as it was.
        moved: bytes that went over the network in all.
    """

    job: Job
    source: str
    target: str
    left: int = 0
    rate: int = 0
    downtime_ms: int = 0
    elapsed_ms: int = 0
    moved: int = 0


@require_GET
def migrations(request: HttpRequest) -> HttpResponse:
    """Names of hosts are for who may see them."""
    jobs = visible_jobs(request.user).filter(kind="vm.migrate").select_related("user")
    names = {str(pk): name for pk, name in Host.objects.visible_to(request.user).values_list("pk", "name")}
    running = _flights(jobs.exclude(status__in=JobStatus.finished()).order_by("created_at"), names)
    ended = _flights(jobs.filter(status__in=JobStatus.finished()).order_by("-finished_at")[:SHOWN], names)
    return render(request, "vms/migrations.html", {"running": running, "ended": ended})


def _flights(jobs: Iterable[Job], names: dict[str, str]) -> list[Flight]:
    return [_flight(job, names) for job in jobs]


def _flight(job: Job, names: dict[str, str]) -> Flight:
    told: dict[str, Any] = job.facts.get("done") or job.facts.get("seen") or {}
    source, target = (names.get(str(job.facts.get(key, "")), "") for key in ("source", "target"))
    figures = {name: int(told.get(name, 0)) for name in ("left", "rate", "downtime_ms", "elapsed_ms")}
    return Flight(job, source, target, moved=int(told.get("done", 0)), **figures)
