"""What a cluster's policy would move now, without what must not be moved."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils import timezone

from hosts.models import Cluster, HostStatus
from hosts.scheduling import balance
from hosts.scheduling.balance import Plan
from hosts.scheduling.world import World
from jobs.models import Job, JobStatus, Lock
from vms.migration.services import why_not_live
from vms.models import VM, VmStatus
from vms.placement.snapshot import world_of

# A VM that has just moved stays: without this, two hosts that are nearly alike would hand it to and fro.
REST = timedelta(minutes=15)
# While one of its hosts is like this, the cluster has other worries.
_UNSETTLED = (HostStatus.NON_RESPONSIVE, HostStatus.FENCING, HostStatus.PREPARING_FOR_MAINTENANCE)


def plan_of(world: World, most: int, least_gain: float) -> Plan:
    """As the cluster's policy weighs: its hosts evenly full, or as many as possible empty."""
    if "packed" in world.policy.weights:
        return balance.packed(world, most)
    return balance.even(world, most, least_gain)


def movable_world(cluster: Cluster, now: datetime | None = None) -> World:
    """The cluster with those VMs held in place that cannot move, are busy, or have moved lately."""
    world = world_of(cluster)
    held = _held([guest.id for guest in world.guests if ":" not in guest.id], now or timezone.now())
    return replace(world, guests=tuple(replace(guest, migratable=guest.migratable and guest.id not in held) for guest in world.guests))


def _held(ids: Iterable[str], now: datetime) -> set[str]:
    rows = VM.objects.filter(pk__in=list(ids)).select_related("host", "cluster")
    held = {str(vm.pk) for vm in rows if vm.status != VmStatus.UP or why_not_live(vm)}
    held |= {str(key) for key in Lock.objects.filter(object_type=VM.OBJECT_TYPE).values_list("object_id", flat=True)}
    moved = Job.objects.filter(kind="vm.migrate", finished_at__gt=now - REST)
    return held | {str(key) for key in moved.values_list("object_id", flat=True)}


def why_not_now(cluster: Cluster) -> str:
    """What keeps the cluster from being balanced in this moment; empty when nothing does."""
    host = cluster.hosts.filter(status__in=_UNSETTLED).order_by("name").first()
    if host is not None:
        return f"Host {host.name} is {host.get_status_display().lower()}."
    vms = cluster.vms.values("pk")
    if Job.objects.filter(kind="vm.migrate", object_id__in=vms).exclude(status__in=JobStatus.finished()).exists():
        return "VMs of the cluster are on their way."
    return ""
