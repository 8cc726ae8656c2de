"""A look through a storage domain: volumes that belong to no disk, and disks whose volume is gone."""

from uuid import UUID

from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from events.log import record
from events.models import Severity
from hosts.connect import link_of
from hosts.models import Host
from hypervisor import storage as pools
from hypervisor.storage import VolumeInfo
from jobs.context import Context
from jobs.engine import holder_of, register, submit
from jobs.errors import ObjectBusy, StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, Lock
from portal.errors import NotPossible
from portal.live import publish
from storage import observe, on_host
from storage.disks import volumes
from storage.disks.models import StrayVolume
from storage.models import Disk, DiskStatus, StorageDomain, StorageStatus


def scan(user: User, domain: StorageDomain) -> Job:
    """Looks through the storage domain on its hosts. Raises PermissionDenied, NotPossible, ObjectBusy."""
    require(user, "storage_domain.edit", domain)
    if (busy := holder_of(domain)) is not None:
        raise ObjectBusy(domain.name, busy)
    if domain.status != StorageStatus.ACTIVE:
        raise NotPossible(f"{domain.name} is {domain.get_status_display().lower()}.")
    return submit("storage.scan", user=user, target=domain, title=f"Look through storage domain {domain.name}")


def remove(user: User, stray: StrayVolume) -> Job:
    """Deletes a volume that nobody owns, if it still is nobody's when the job runs."""
    require(user, "storage_domain.edit", stray.domain)
    params = {"stray": str(stray.pk)}
    return submit("storage.remove_stray", user=user, target=stray.domain, title=f"Delete stray volume {stray.name[:200]}", params=params)


def _scan(ctx: Context) -> None:
    domain = StorageDomain.objects.get(pk=ctx.job.object_id)
    hosts = on_host.hosts_with(domain)
    if not hosts:
        raise StepFailed(f"{domain.name} is active on no host that is up.")
    for host in hosts[:1] if domain.is_shared else hosts:
        ctx.check()
        look_through(domain, host)


def look_through(domain: StorageDomain, host: Host) -> None:
    """What one host has of the domain, written down."""
    before = _ours(domain, host)  # a disk that is made meanwhile is in `after`, one that is deleted meanwhile is here
    place = None if domain.is_shared else host
    expected = _in_use(domain, place)
    found = _volumes(domain, host)
    after = _ours(domain, host)
    strays = [volume for name, volume in found.items() if not _is_owned(name, before | after)]
    StrayVolume.objects.filter(domain=domain, host=place).delete()
    now = timezone.now()
    StrayVolume.objects.bulk_create(
        StrayVolume(domain=domain, host=place, name=volume.name, allocated_bytes=volume.allocation, found_at=now) for volume in strays
    )
    for disk in _in_use(domain, place) & expected:
        if disk.path.rsplit("/", 1)[-1] in found:
            continue
        observe.disk_status(disk, DiskStatus.ILLEGAL)
        record("disk.illegal", f"The volume of disk {disk.name} is gone from {domain.name}", obj=disk, severity=Severity.WARNING)
    publish("storage_domain", domain.pk, "changed", domain.rev)


def _volumes(domain: StorageDomain, host: Host) -> dict[str, VolumeInfo]:
    link = link_of(host)
    pools.refresh_pool(link, domain.pool_name)
    return {volume.name: volume for volume in pools.list_volumes(link, domain.pool_name)}


def _ours(domain: StorageDomain, host: Host) -> frozenset[str]:
    """Ids of the disks that lie here, or that a job brings here or takes away now: what bears one in its name is not nobody's."""
    here = Disk.objects.filter(domain=domain) if domain.is_shared else Disk.objects.filter(domain=domain, host=host)
    ids = {str(pk) for pk in here.values_list("pk", flat=True)}
    return frozenset(ids | {str(pk) for pk in Lock.objects.filter(object_type=Disk.OBJECT_TYPE).values_list("object_id", flat=True)})


def _is_owned(name: str, ids: frozenset[str]) -> bool:
    """Our files begin with the disk's id, overlays of snapshots too."""
    return name[:36] in ids


def _in_use(domain: StorageDomain, host: Host | None) -> set[Disk]:
    """Disks that should have a file here, and that no job works on."""
    busy = set(Lock.objects.filter(object_type=Disk.OBJECT_TYPE).values_list("object_id", flat=True))
    disks = Disk.objects.filter(domain=domain, host=host, status=DiskStatus.OK).exclude(path="")
    return {disk for disk in disks if disk.pk not in busy}


def _stray(ctx: Context) -> StrayVolume | None:
    return StrayVolume.objects.select_related("domain", "host__cluster").filter(pk=ctx.params["stray"]).first()


def _delete(ctx: Context) -> None:
    stray = _stray(ctx)
    if stray is None:
        return
    host = stray.host or next(iter(on_host.hosts_with(stray.domain)), None)
    if host is None:
        raise StepFailed(f"{stray.domain.name} is active on no host that is up.")
    if _is_owned(stray.name, _ours(stray.domain, host)) or _names_a_disk(stray.name):
        raise StepFailed(f"{stray.name} belongs to a disk now.")
    volumes.drop(link_of(host), stray.domain.pool_name, stray.name)
    stray.delete()


def _names_a_disk(name: str) -> bool:
    """Somebody's disk elsewhere that builds on it, or a job that is about to know it, would be spoiled: a locked disk of that id."""
    try:
        return Disk.objects.filter(pk=UUID(name[:36]), status=DiskStatus.LOCKED).exists()
    except ValueError:
        return False


register("storage.scan", [StepDef("look", "Look through it", _scan)])
register("storage.remove_stray", [StepDef("delete", "Delete the volume", _delete)], cancellable=False)
