"""Pages of jobs: list, detail, the tray, cancel."""

from datetime import timedelta
from typing import cast
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from jobs import engine
from jobs.errors import NotCancellable
from jobs.models import Job, JobStatus
from jobs.visible import visible_jobs
from portal.pages import lists
from portal.pages.actions import answer, refuse
from portal.pages.filtering import FilterField

LIST = lists.ListPage(
    title="Jobs",
    row_template="jobs/row.html",
    columns=(
        lists.Column("title", "Job", "title", lambda job: job.title),
        lists.Column("status", "Status", "status", lambda job: job.status),
        lists.Column("user", "User", "user__username", lambda job: job.user),
        lists.Column("created", "Asked for", "created_at", lambda job: job.created_at.isoformat()),
        lists.Column("error", "Message", "", lambda job: job.error),
    ),
    empty=lists.Empty(
        "list-check",
        "No jobs yet",
        "Every change to a host is a job: it shows here with its steps, its progress and, if it fails, the reason.",
    ),
    live="job",
    filters={
        "status": FilterField("status", "choice"),
        "kind": FilterField("kind"),
        "user": FilterField("user__username"),
        "object": FilterField("object_name"),
        "title": FilterField("title"),
    },
    default_sort="-created",
    free=("title", "error"),
    hint="status:failed user:admin object:web-01",
)
TRAY_MINUTES = 30
TRAY_LENGTH = 12


@require_GET
def job_list(request: HttpRequest) -> HttpResponse:
    return lists.show(request, LIST, visible_jobs(request.user).select_related("user"))


def _find(request: HttpRequest, pk: UUID) -> Job:
    job = visible_jobs(request.user).select_related("user").filter(pk=pk).first()
    if job is None:
        raise Http404("There is no such job.")
    return job


@require_GET
def job_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    job = _find(request, pk)
    context = {"job": job, "steps": job.steps.all(), "log": job.log_lines.all()[:500], "ended": job.status in JobStatus.finished()}
    return render(request, "jobs/detail.html", context)


@require_GET
def tray(request: HttpRequest) -> HttpResponse:
    """What runs, and what of one's own ended lately: the part that every page shows."""
    mine = Job.objects.filter(user=cast(User, request.user))
    running = list(mine.exclude(status__in=JobStatus.finished())[:TRAY_LENGTH])
    ended = list(
        mine.filter(status__in=JobStatus.finished(), finished_at__gt=timezone.now() - timedelta(minutes=TRAY_MINUTES))[
            : TRAY_LENGTH - len(running)
        ]
    )
    return render(request, "jobs/tray.html", {"running": running, "ended": ended})


@require_POST
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    job = _find(request, pk)
    try:
        engine.cancel(request.user, job)
    except NotCancellable as error:
        return refuse(request, f"/jobs/{pk}/", error)
    if not request.headers.get("HX-Request"):
        messages.info(request, f"{job.title}: asked to stop; what it did is undone.")
        return redirect("jobs:job", pk=pk)
    return answer(request, f"/jobs/{pk}/", f"{job.title}: asked to stop.", job)
