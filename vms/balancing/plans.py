"""What a cluster's policy would move now, without what must not be moved."""

from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from hosts.models import Cluster, HostStatus, HostTransport
from hosts.scheduling import balance
from hosts.scheduling.balance import Plan
from hosts.scheduling.world import HostView, World
from jobs.models import Job, JobStatus, Lock
from vms.models import VM, VmStatus
from vms.placement.snapshot import world_of

# A VM that has just moved stays: without this, two hosts that are nearly alike would hand it to and fro.
REST = timedelta(minutes=15)
# While one of its hosts is like this, the cluster has other worries.
_UNSETTLED = (HostStatus.NON_RESPONSIVE, HostStatus.FENCING, HostStatus.PREPARING_FOR_MAINTENANCE)


def plan_of(world: World, most: int, least_gain: float) -> Plan:
    """As the cluster's policy weighs more: its hosts evenly full, or as many as possible empty."""
    weights = world.policy.weights
    if weights.get("packed", 0) > weights.get("even", 0):
        return balance.packed(world, most)
    return balance.even(world, most, least_gain)


def movable_world(cluster: Cluster, now: datetime | None = None) -> World:
    """The cluster with those VMs held in place that cannot move, are busy, or have moved lately."""
    world = world_of(cluster)
    held, needs = _held(cluster, now or timezone.now()), _storage(cluster)
    guests = (
        replace(guest, migratable=guest.migratable and guest.id not in held, needs_storage=needs.get(guest.id, {}))
        for guest in world.guests
    )
    return replace(world, guests=tuple(guests), hosts=_reachable(world, cluster))


def _reachable(world: World, cluster: Cluster) -> tuple[HostView, ...]:
    """VMs move over TLS alone: a host that was added otherwise neither gives nor takes."""
    others = {str(key) for key in cluster.hosts.exclude(transport=HostTransport.TLS).values_list("pk", flat=True)}
    return tuple(replace(view, out=view.out or "VMs cannot move to it") if view.id in others else view for view in world.hosts)


def _held(cluster: Cluster, now: datetime) -> set[str]:
    """By the rules of `why_not_live`, for all VMs at once: the cluster's row is locked meanwhile, and starts wait for it."""
    tied = Q(attachments__disk__host__isnull=False) | Q(attachments__disk__isnull=False, attachments__disk__domain=None)
    held = {str(key) for key in cluster.vms.exclude(status=VmStatus.UP).values_list("pk", flat=True)}
    held |= {
        str(key) for key in cluster.vms.filter(tied | Q(host=None) | ~Q(host__transport=HostTransport.TLS)).values_list("pk", flat=True)
    }
    held |= {str(key) for key in Lock.objects.filter(object_type=VM.OBJECT_TYPE).values_list("object_id", flat=True)}
    moved = Job.objects.filter(kind="vm.migrate", finished_at__gt=now - REST)
    return held | {str(key) for key in moved.values_list("object_id", flat=True)}


def _storage(cluster: Cluster) -> dict[str, dict[str, str]]:
    """VM id -> the storage domains that its host must have; without this, moves are planned that the job refuses."""
    found: dict[str, dict[str, str]] = {}
    rows = cluster.vms.filter(attachments__disk__domain__isnull=False)
    for vm, domain, name in rows.values_list("pk", "attachments__disk__domain_id", "attachments__disk__domain__name"):
        found.setdefault(str(vm), {})[str(domain)] = name
    return found


def why_not_now(cluster: Cluster) -> str:
    """What keeps the cluster from being balanced in this moment; empty when nothing does."""
    host = cluster.hosts.filter(status__in=_UNSETTLED).order_by("name").first()
    if host is not None:
        return f"Host {host.name} is {host.get_status_display().lower()}."
    vms = cluster.vms.values("pk")
    if Job.objects.filter(kind="vm.migrate", object_id__in=vms).exclude(status__in=JobStatus.finished()).exists():
        return "VMs of the cluster are on their way."
    return ""
