"""Jobs on disks: create, remove."""

from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists
from hypervisor.spec import VolumeSpec
from jobs.engine import Context, StepDef, register
from jobs.errors import StepFailed
from jobs.models import Job, JobStatus
from storage import observe, on_host
from storage.models import Disk, DiskStatus, StorageDomain
from storage.services import users_of


def _disk(ctx: Context) -> Disk:
    return Disk.objects.select_related("domain", "host__cluster").get(pk=ctx.job.object_id)


def _of(disk: Disk) -> StorageDomain:
    if disk.domain is None:
        raise StepFailed(f"{disk.name} lies in no storage domain.")
    return disk.domain


def create_volume(ctx: Context) -> None:
    """An empty volume. Its name is the disk's id, so one that is there is ours, from an earlier try."""
    disk = _disk(ctx)
    _host, link = on_host.link_for(disk)
    try:
        pools.create_volume(link, _of(disk).pool_name, _volume_of(disk))
    except AlreadyExists:
        ctx.log("The volume is there from an earlier try.")


def _volume_of(disk: Disk) -> VolumeSpec:
    return VolumeSpec(disk.volume_name, disk.capacity_bytes, disk.format, thick=not _of(disk).traits.thin)


def delete_volume(ctx: Context) -> None:
    disk = Disk.objects.select_related("domain", "host__cluster").filter(pk=ctx.job.object_id).first()
    if disk is None or disk.domain is None or not disk.domain.traits.makes:  # a LUN is the storage's own
        return
    _host, link = on_host.link_for(disk)
    pools.delete_volume(link, disk.domain.pool_name, disk.volume_name)


def _ready(ctx: Context) -> None:
    disk = _disk(ctx)
    _host, link = on_host.link_for(disk)
    info = pools.volume_info(link, _of(disk).pool_name, disk.volume_name)
    observe.disk_ready(disk, info.path, info.allocation)


def _made(job: Job) -> None:
    """A disk that was not made leaves nothing; one whose volume could not be removed again stays, illegal, to be removed later."""
    disk = Disk.objects.filter(pk=job.object_id).first()
    if disk is None or job.status == JobStatus.SUCCEEDED:
        return
    if job.steps.filter(status="undo_failed").exists():
        observe.disk_status(disk, DiskStatus.ILLEGAL)
    else:
        observe.disk_removed(disk, job.user, job)


def _lock(ctx: Context) -> None:
    disk = Disk.objects.filter(pk=ctx.job.object_id).first()
    if disk is None:
        return
    users = users_of(disk)
    if any(users.values()):
        raise StepFailed(f"{disk.name} is in use again.")
    observe.disk_status(disk, DiskStatus.LOCKED)


def _unlock(ctx: Context) -> None:
    disk = Disk.objects.filter(pk=ctx.job.object_id).first()
    if disk is not None:
        observe.disk_status(disk, DiskStatus.ILLEGAL if ctx.facts.get("deleting") else DiskStatus.OK)


def _delete(ctx: Context) -> None:
    ctx.save_facts(deleting=True)
    delete_volume(ctx)


def _forget(ctx: Context) -> None:
    disk = Disk.objects.filter(pk=ctx.job.object_id).first()
    if disk is not None:
        observe.disk_removed(disk, ctx.job.user, ctx.job)


register(
    "disk.create",
    [StepDef("volume", "Create the volume", create_volume, delete_volume), StepDef("ready", "Take into use", _ready)],
    on_end=_made,
)
register(
    "disk.remove",
    [
        StepDef("lock", "Lock the disk", _lock, _unlock),
        StepDef("delete", "Delete the volume", _delete),
        StepDef("forget", "Remove it from Vireo", _forget),
    ],
    cancellable=False,
)
