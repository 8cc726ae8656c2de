"""How much of a quota is used. It is counted from the rows of VMs and disks each time, so no counter can drift from them.

VMs and storage count from the moment they are asked for until their rows are gone. Memory and vCPUs count while a VM runs or
is about to: a VM that is down takes none. What waits for a VM's next run counts too, for it comes without another question.
"""

from typing import Any

from django.db.models import Q, QuerySet, Sum

from accounts.quotas.models import Quota, QuotaLimit, Resource
from jobs.models import Lock
from storage.models import Disk
from vms.models import VM, Snapshot, VmStatus

AT_REST = (VmStatus.DOWN, VmStatus.SUSPENDED, VmStatus.IMAGE_LOCKED)
_RUN_KINDS = ("vm.start", "vm.start_paused", "vm.run_once")


def taking_compute() -> Q:
    """A filter for the VMs that run, or that a job is about to run."""
    run = Q(job__kind__in=_RUN_KINDS) | Q(job__kind="vm.create", job__params__start=True)
    run |= Q(job__kind__in=("snapshot.preview", "snapshot.revert"), job__params__memory=True)
    return ~Q(status__in=AT_REST) | Q(pk__in=Lock.objects.filter(run, object_type=VM.OBJECT_TYPE).values("object_id"))


def asked(vm: VM, resource: str) -> int:
    """What the VM has, or will have at its next run when that is more."""
    return max(getattr(vm, resource), vm.next_run.get(resource, 0))


def used(quota: Quota, resource: str, cluster_id: Any = None, storage_domain_id: Any = None) -> int:
    """What VMs and disks take of the quota's resource, in the whole data center or in one place."""
    if resource == Resource.STORAGE:
        disks = _in_place(Disk.objects.filter(quota=quota), domain_id=storage_domain_id)
        return disks.aggregate(total=Sum("capacity_bytes"))["total"] or 0
    if resource == Resource.SNAPSHOTS:
        return _in_place(Snapshot.objects.filter(vm__quota=quota), vm__cluster_id=cluster_id).count()
    vms = _in_place(VM.objects.filter(quota=quota), cluster_id=cluster_id)
    if resource == Resource.VMS:
        return vms.count()
    running = vms.filter(taking_compute())
    total = running.aggregate(total=Sum(resource))["total"] or 0
    waiting = running.exclude(next_run={}).only("next_run", resource)
    return total + sum(asked(vm, resource) - getattr(vm, resource) for vm in waiting)


def _in_place(rows: QuerySet, **place: Any) -> QuerySet:
    return rows.filter(**{name: key for name, key in place.items() if key is not None})


def used_of(limit: QuotaLimit) -> int:
    """What is used of what the limit limits."""
    return used(limit.quota, limit.resource, limit.cluster_id, limit.storage_domain_id)
