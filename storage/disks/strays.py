"""Volumes of a storage domain that are no disks, and disks whose volume is gone: what a scan asks, and the verb that deletes."""

from uuid import UUID

from accounts.models import User
from accounts.permissions import require
from events.log import record
from events.models import Severity
from hosts.connect import link_of
from hosts.models import Host
from jobs.context import Context
from jobs.engine import register, submit
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, Lock
from storage import observe, on_host
from storage.disks import volumes
from storage.models import Disk, DiskStatus, FoundVolume, StorageDomain
from vms.models import VM, Layer


def owners(domain: StorageDomain, host: Host | None) -> frozenset[str]:
    """Ids whose volumes are not nobody's: disks that lie here or that a job brings or takes away now, and VMs, for saved memory.

    Args:
        host: whose part of a local domain; None for a shared one.
    """
    here = Disk.objects.filter(domain=domain) if host is None else Disk.objects.filter(domain=domain, host=host)
    locked = Lock.objects.filter(object_type=Disk.OBJECT_TYPE)
    ids = [*here.values_list("pk", flat=True), *locked.values_list("object_id", flat=True), *VM.objects.values_list("pk", flat=True)]
    return frozenset(map(str, ids))


def is_owned(name: str, ids: frozenset[str]) -> bool:
    """The names that we give begin with the id of a disk, layers of snapshots too, or of the VM whose memory is saved."""
    return name[:36] in ids


def expected(domain: StorageDomain, host: Host | None) -> set[Disk]:
    """Disks that should have a volume here, and that no job works on."""
    busy = set(Lock.objects.filter(object_type=Disk.OBJECT_TYPE).values_list("object_id", flat=True))
    disks = Disk.objects.filter(domain=domain, host=host, status=DiskStatus.OK).exclude(path="")
    return {disk for disk in disks if disk.pk not in busy}


def mark_missing(domain: StorageDomain, host: Host | None, before: set[Disk], seen: set[str]) -> None:
    """Disks that were expected before and after the look, and are not among the names seen, become illegal."""
    for disk in expected(domain, host) & before:
        if disk.volume_name in seen:
            continue
        observe.disk_status(disk, DiskStatus.ILLEGAL)
        record("disk.illegal", f"The volume of disk {disk.name} is gone from {domain.name}", obj=disk, severity=Severity.WARNING)


def remove(user: User, found: FoundVolume) -> Job:
    """Deletes a volume that nobody owns, if it still is nobody's when the job runs."""
    require(user, "storage_domain.edit", found.domain)
    title = f"Delete volume {found.name[:200]}"
    return submit("storage.remove_found", user=user, target=found.domain, title=title, params={"found": found.pk})


def _delete(ctx: Context) -> None:
    found = FoundVolume.objects.select_related("domain", "host__cluster").filter(pk=ctx.params["found"]).first()
    if found is None:
        return
    host = found.host or next(iter(on_host.hosts_with(found.domain)), None)
    if host is None:
        raise StepFailed(f"{found.domain.name} is active on no host that is up.")
    if is_owned(found.name, owners(found.domain, found.host)) or _names_a_disk(found.name) or _is_needed(found):
        raise StepFailed(f"{found.name} belongs to a disk now.")
    volumes.drop(link_of(host), found.domain.pool_name, found.name)
    found.delete()


def _names_a_disk(name: str) -> bool:
    """A disk that lies elsewhere as far as we know, or is on its way."""
    try:
        return Disk.objects.filter(pk=UUID(name[:36])).exists()
    except ValueError:
        return False


def _is_needed(found: FoundVolume) -> bool:
    """Taken in since, or something that was found builds on it."""
    here = Disk.objects.filter(domain=found.domain, host=found.host)
    taken = here.filter(path=found.path).exists() or Layer.objects.filter(disk__in=here, path=found.path).exists()
    return taken or found.domain.found.filter(host=found.host, backing_path=found.path).exists()


register("storage.remove_found", [StepDef("delete", "Delete the volume", _delete)], cancellable=False)
