"""What a VM takes of its quota: when it is made, started, changed. Called by vms.services inside its transactions."""

from collections.abc import Iterable, Mapping
from typing import Any

from accounts.models import User
from accounts.quotas import rules
from accounts.quotas.models import Quota, Resource
from accounts.quotas.rules import Claim
from accounts.quotas.usage import asked, taking_compute
from hosts.models import Cluster, QuotaMode
from portal.errors import FieldError, NotPossible
from storage.models import Disk, StorageDomain
from vms.build import DEFAULT_DISK_BYTES
from vms.models import VM, Template

_FIELDS = {Resource.VCPUS: "vcpus", Resource.MEMORY: "memory_mib", Resource.STORAGE: "disk_bytes"}


def claims_of_new(
    cluster: Cluster,
    memory_mib: int,
    vcpus: int,
    storage: StorageDomain | None,
    template: Template | None,
    disk_bytes: int | None,
    start: bool,
) -> list[Claim]:
    """What a new VM takes: its place among the VMs, its disks, and when it is to run at once its memory and CPUs."""
    claims = [Claim(Resource.VMS, 1, cluster.pk)]
    if start:
        claims += [Claim(Resource.VCPUS, vcpus, cluster.pk), Claim(Resource.MEMORY, memory_mib, cluster.pk)]
    sizes = template.disks.values_list("capacity_bytes", flat=True) if template else [disk_bytes or DEFAULT_DISK_BYTES]
    if storage is not None:
        claims += [Claim(Resource.STORAGE, size, storage.pk) for size in sizes]
    return claims


def take_new(user: User, vm: VM, storage: StorageDomain, disk_bytes: int | None, start: bool) -> None:
    """Raises FieldError. Audit mode lets a VM without a quota through, and says so."""
    rules.note_missing(user, vm.quota, vm.cluster.data_center_id, f"{vm} was made without a quota", vm.cluster)
    claims = claims_of_new(vm.cluster, vm.memory_mib, vm.vcpus, storage, vm.template, disk_bytes, start)
    fields = _FIELDS | ({Resource.STORAGE: "template"} if vm.template else {})
    rules.take(user, vm.quota, claims, subject="this VM", fields=fields, obj=vm)


def take_start(user: User, vm: VM) -> None:
    """The VM, whose row the caller has locked, is about to run. Raises NotPossible."""
    data_center = vm.cluster.data_center
    if vm.quota is None and rules.mode_of(data_center.pk) == QuotaMode.ENFORCED:
        raise NotPossible(f"{vm} has no quota, and data center {data_center} enforces them: choose one under Edit.")
    rules.note_missing(user, vm.quota, data_center.pk, f"{vm} was started without a quota", vm)
    if vm.quota is None or takes_compute(vm):
        return  # nothing to count, or counted already
    claims = [Claim(resource, asked_at_start(vm, resource), vm.cluster_id) for resource in (Resource.VCPUS, Resource.MEMORY)]
    rules.take(user, vm.quota, claims, subject="this VM", obj=vm)


def take_snapshot(user: User, vm: VM) -> None:
    """One more snapshot of the locked VM. Raises NotPossible."""
    rules.take(user, vm.quota, [Claim(Resource.SNAPSHOTS, 1, vm.cluster_id)], subject="this snapshot", obj=vm)


def asked_at_start(vm: VM, resource: str) -> int:
    """What it will have once it runs: what waits for its next run is applied by then."""
    return vm.next_run.get(resource, getattr(vm, resource))


def takes_compute(vm: VM) -> bool:
    return VM.objects.filter(taking_compute(), pk=vm.pk).exists()


def take_change(user: User, vm: VM, hardware: Mapping[str, Any]) -> None:
    """Memory and CPUs of a locked VM are about to be as in `hardware`: only one that takes compute now must fit.

    Raises FieldError.
    """
    if vm.quota is None or not takes_compute(vm):
        return
    claims = []
    for resource in (Resource.VCPUS, Resource.MEMORY):
        more = max(getattr(vm, resource), hardware.get(resource, asked(vm, resource))) - asked(vm, resource)
        if more > 0:
            claims.append(Claim(resource, more, vm.cluster_id))
    if claims:
        rules.take(user, vm.quota, claims, subject="this change", fields=_FIELDS, obj=vm)


def template_quota(user: User, vm: VM) -> Quota | None:
    """What the disks of a template of the VM count against: the VM's own quota where the user may take from it, else theirs.

    Raises FieldError (the data center is enforced, and the user has none) or NotPossible (no room for copies of its disks).
    """
    usable = vm.quota_id is not None and Quota.objects.usable_by(user).filter(pk=vm.quota_id).exists()
    chosen = rules.choose(user, vm.cluster.data_center, vm.quota if usable else None)
    rules.ensure(chosen, claims_of_disks(copied_disks(vm)), subject="this template")
    return chosen


def take_template(user: User | None, vm: VM, quota: Quota | None, name: str) -> None:
    """Copies of the VM's disks are about to be written. Raises NotPossible."""
    rules.note_missing(user, quota, vm.cluster.data_center_id, f"Template {name} was made without a quota", vm.cluster.data_center)
    rules.take(user, quota, claims_of_disks(copied_disks(vm)), subject="this template", obj=name)


def copied_disks(vm: VM) -> list[Disk]:
    """Those of the VM's disks that a template of it has copies of."""
    return list(Disk.objects.filter(attachments__vm=vm, attachments__device="disk", domain__isnull=False))


def claims_of_disks(disks: Iterable[Disk]) -> list[Claim]:
    return [Claim(Resource.STORAGE, disk.capacity_bytes, disk.domain_id) for disk in disks if disk.domain_id is not None]


def everything_of(vm: VM, disks: Iterable[Disk]) -> list[Claim]:
    """All that the VM and these disks take now."""
    claims = [Claim(Resource.VMS, 1, vm.cluster_id), Claim(Resource.SNAPSHOTS, vm.snapshots.count(), vm.cluster_id)]
    if takes_compute(vm):
        claims += [Claim(resource, asked(vm, resource), vm.cluster_id) for resource in (Resource.VCPUS, Resource.MEMORY)]
    return claims + claims_of_disks(disks)


def reassign(user: User, vm: VM, quota: Quota | None) -> None:
    """The locked VM, and the disks of it that counted with it, count against another quota from now on.

    Raises FieldError: not a quota that the user may use, or no room in it.
    """
    if quota is not None and quota.pk == vm.quota_id:
        return
    data_center = vm.cluster.data_center
    if quota is None:
        if rules.mode_of(data_center.pk) == QuotaMode.ENFORCED:
            raise FieldError("quota", f"Data center {data_center} enforces quotas: choose one.")
    else:
        rules.choose(user, data_center, quota)
    disks = list(Disk.objects.filter(attachments__vm=vm, attachments__read_only=False, quota=vm.quota_id, domain__isnull=False).distinct())
    rules.take(user, quota, everything_of(vm, disks), subject="this VM", fields={}, obj=vm)
    Disk.objects.filter(pk__in=[disk.pk for disk in disks]).update(quota=quota)
    vm.quota = quota
