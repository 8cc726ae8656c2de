"""The dashboard: the whole in one sentence, capacity, hosts, what uses most, what happened last."""

from typing import Any

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from accounts.permissions import anywhere, is_administrator
from events.visible import visible_events
from hosts.models import Host, HostStatus
from jobs.visible import visible_jobs
from metrics import live
from portal.selfservice import home
from storage.models import StorageDomain
from vms.models import VM, VmStatus

TOP = 6
_NOT_RUNNING = (VmStatus.DOWN, VmStatus.SUSPENDED, VmStatus.IMAGE_LOCKED, VmStatus.UNKNOWN)


@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """`/`: the dashboard for who administers anything, the self-service portal for everybody else."""
    return dashboard(request) if is_administrator(request.user) else home.machines(request)


def dashboard(request: HttpRequest) -> HttpResponse:
    user = request.user
    hosts = list(Host.objects.visible_to(user).defer("capabilities").select_related("cluster").order_by("name")[:200])
    vms = VM.objects.visible_to(user)
    counts = vms.aggregate(
        all=Count("pk"),
        running=Count("pk", filter=~Q(status__in=_NOT_RUNNING)),
        paused=Count("pk", filter=Q(status=VmStatus.PAUSED)),
        unknown=Count("pk", filter=Q(status=VmStatus.UNKNOWN)),
        committed_mib=Sum("memory_mib", filter=~Q(status__in=_NOT_RUNNING)),
        vcpus=Sum("vcpus", filter=~Q(status__in=_NOT_RUNNING)),
    )
    numbers = live.latest([f"host:{host.pk}" for host in hosts])
    for host in hosts:
        host.now = numbers.get(f"host:{host.pk}", {})  # type: ignore[attr-defined]
    up = [host for host in hosts if host.status == HostStatus.UP]
    context = {
        "hosts": hosts,
        "health": _health(hosts, up, counts),
        "counts": counts,
        "capacity": _capacity(up, counts),
        "storage": list(StorageDomain.objects.visible_to(user)),
        "top": _top(vms),
        "jobs": visible_jobs(user).select_related("user")[:6],
        "events": visible_events(user)[:8],
        "problems": visible_events(user).filter(severity="error").count(),
        "may_create": "vm.create" in anywhere(user),
    }
    return render(request, "pages/dashboard.html", context)


def _health(hosts: list[Host], up: list[Host], counts: dict[str, Any]) -> list[dict[str, str]]:
    """Parts of one sentence, each a link to the list behind it."""
    host_list, vm_list = reverse("hosts:list"), reverse("vms:list")
    parts = []
    if hosts:
        away = len(hosts) - len(up)
        parts.append({"text": f"{len(up)} host{'s' * (len(up) != 1)} up", "url": f"{host_list}?q=status:up", "tone": "up"})
        if away:
            parts.append({"text": f"{away} not up", "url": f"{host_list}?q=-status:up", "tone": "non_responsive"})
    parts.append(
        {
            "text": f"{counts['running']} VM{'s' * (counts['running'] != 1)} running",
            "url": f"{vm_list}?q=-status:down",
            "tone": "up" if counts["running"] else "down",
        }
    )
    if counts["paused"]:
        parts.append({"text": f"{counts['paused']} paused", "url": f"{vm_list}?q=status:paused", "tone": "paused"})
    if counts["unknown"]:
        parts.append({"text": f"{counts['unknown']} unknown", "url": f"{vm_list}?q=status:unknown", "tone": "unknown"})
    return parts


def _capacity(up: list[Host], counts: dict[str, Any]) -> dict[str, Any]:
    memory = sum(host.memory_bytes for host in up)
    cpus = sum(host.cpu_count for host in up)
    used = [host.now.get("memory_bytes") for host in up if host.now.get("memory_bytes") is not None]  # type: ignore[attr-defined]
    busy = [host.now["cpu_percent"] * host.cpu_count for host in up if host.now.get("cpu_percent") is not None]  # type: ignore[attr-defined]
    return {
        "memory": memory,
        "memory_used": sum(used) if used else None,
        "memory_committed": (counts["committed_mib"] or 0) << 20,
        "cpus": cpus,
        "cpu_percent": sum(busy) / cpus if busy and cpus else None,
        "vcpus": counts["vcpus"] or 0,
    }


def _top(vms: Any) -> list[VM]:
    """The VMs with the most CPU in use now."""
    running = list(vms.exclude(status__in=_NOT_RUNNING).only("pk", "name", "status")[:500])
    numbers = live.latest(f"vm:{vm.pk}" for vm in running)
    for vm in running:
        vm.cpu = numbers.get(f"vm:{vm.pk}", {}).get("cpu_percent")  # type: ignore[attr-defined]
    return sorted((vm for vm in running if vm.cpu is not None), key=lambda vm: -vm.cpu)[:TOP]  # type: ignore[attr-defined]
