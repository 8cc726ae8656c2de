"""From rows to the scheduler's snapshot of a cluster: a handful of queries whatever its size."""

from collections.abc import Iterable
from uuid import UUID

from hosts.models import Cluster, Host, HostStatus
from hosts.scheduling.world import Affinity, Guest, HostView, Policy, World
from jobs.models import JobStatus
from storage.models import Disk, StorageDomainHost, StorageStatus
from vms.models import VM, Firmware, VmOrigin, VmStatus
from vms.placement.models import AffinityGroup, PlacementDecision

_OUT = {
    HostStatus.MAINTENANCE: "it is in maintenance",
    HostStatus.FENCING: "it is being fenced",
    HostStatus.INSTALLING: "it is being installed",
}


def world_of(cluster: Cluster) -> World:
    """Hosts, what runs on them or is about to, and the cluster's rules."""
    return World(
        hosts=tuple(_hosts(cluster)),
        guests=tuple(_guests(cluster)),
        affinities=tuple(_affinities(cluster)),
        policy=cluster.policy.as_policy() if cluster.policy is not None else Policy(name="Even", weights={"even": 4.0, "affinity": 4.0}),
    )


def _hosts(cluster: Cluster) -> Iterable[HostView]:
    storage: dict[UUID, set[str]] = {}
    views = StorageDomainHost.objects.filter(host__cluster=cluster, status=StorageStatus.ACTIVE)
    for host_id, domain_id in views.values_list("host_id", "domain_id"):
        storage.setdefault(host_id, set()).add(str(domain_id))
    for host in Host.objects.filter(cluster=cluster).defer("capabilities").order_by("name"):
        yield HostView(
            id=str(host.pk),
            name=host.name,
            memory_mib=host.memory_bytes >> 20,
            cpus=host.cpu_count,
            out="" if host.status == HostStatus.UP else _OUT.get(host.status, f"it is {host.get_status_display().lower()}"),
            storage=frozenset(storage.get(host.pk, ())),
        )


def _guests(cluster: Cluster) -> Iterable[Guest]:
    reserved = dict(
        PlacementDecision.objects.filter(cluster=cluster, host__isnull=False)
        .exclude(job=None)
        .exclude(job__status__in=JobStatus.finished())
        .order_by("at")
        .values_list("vm_id", "host_id")
    )
    rows = VM.objects.filter(cluster=cluster).values_list(
        "pk", "name", "host_id", "status", "memory_mib", "vcpus", "highly_available", "priority"
    )
    for pk, name, host_id, status, memory_mib, vcpus, available, priority in rows.iterator():
        size = {"memory_mib": memory_mib, "vcpus": vcpus, "highly_available": available, "priority": priority}
        here, promised = host_id if status != VmStatus.DOWN else None, reserved.get(pk)
        if where := promised or here:
            yield Guest(id=str(pk), name=name, host=str(where), **size)
        if promised and here and promised != here:  # on its way, it takes memory at both ends
            yield Guest(id=f"{pk}:leaving", name=name, host=str(here), migratable=False, **size)


def _affinities(cluster: Cluster) -> Iterable[Affinity]:
    for group in AffinityGroup.objects.filter(cluster=cluster).prefetch_related("vms").order_by("name"):
        members = frozenset(str(vm.pk) for vm in group.vms.all())
        yield Affinity(name=group.name, members=members, positive=group.positive, hard=group.hard)


def guest_of(vm: VM, copied: Iterable[Disk] = (), wished: Host | None = None) -> Guest:
    """The VM as it is to be placed.

    Args:
        copied: disks beside its own that its host must reach, such as a template's.
        wished: the one host that was asked for.
    """
    own = Disk.objects.filter(attachments__vm=vm, domain__isnull=False).select_related("host", "domain")
    disks = [*own, *copied]
    only, why = _only(vm, disks)
    if wished is not None and only in (None, {str(wished.pk)}):
        only, why = frozenset({str(wished.pk)}), f"{wished.name} was asked for"
    return Guest(
        id=str(vm.pk),
        name=vm.name,
        memory_mib=vm.memory_mib,
        vcpus=vm.vcpus,
        highly_available=vm.highly_available,
        priority=vm.priority,
        only=only,
        only_why=why,
        needs_storage={str(disk.domain.pk): disk.domain.name for disk in disks if disk.domain is not None},
    )


def _only(vm: VM, disks: list[Disk]) -> tuple[frozenset[str] | None, str]:
    """The hosts that it is tied to: by local disks, and by what lies on the host beside the domain."""
    local = next((disk.host for disk in disks if disk.host is not None), None)
    if local is not None:
        return frozenset({str(local.pk)}), f"its disks lie on {local.name}"
    if vm.host is None:
        return None, ""
    here = frozenset({str(vm.host.pk)})
    if vm.status not in (VmStatus.DOWN, VmStatus.SUSPENDED):
        return None, ""  # a running guest takes all of that along
    if vm.origin == VmOrigin.ADOPTED:
        return here, f"it was adopted on {vm.host.name}, which alone knows all of its definition"
    if vm.firmware != Firmware.BIOS:
        return here, f"its UEFI variables lie on {vm.host.name}"
    if vm.status == VmStatus.SUSPENDED:
        return here, f"its saved memory lies on {vm.host.name}"
    return None, ""
