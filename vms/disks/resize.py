"""A disk grows: its volume while nobody uses it, or the disk of the running VM, whose guest sees it at once."""

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from accounts.quotas import rules
from accounts.quotas.models import Resource
from events.log import record
from hypervisor import disks
from hypervisor import storage as pools
from jobs.context import Context
from jobs.engine import holder_of, register, submit
from jobs.errors import ObjectBusy, StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.templatetags.vireo import size
from storage import observe, on_host, space
from storage.disks import volumes
from storage.disks.can import check
from storage.models import Disk
from storage.services import LARGEST_DISK, users_of
from vms.disks.use import alive_attachments
from vms.steps import link_to


def resize(user: User, disk: Disk, capacity_bytes: int) -> Job:
    """Makes the disk larger; what is more counts against its quota from now on.

    Raises:
        FieldError: smaller than it is, too large, or more than the quota has.
        NotPossible, ObjectBusy: thin copies build on it, it is in use by several VMs, something works on it.
    """
    require(user, "disk.edit", disk)
    with transaction.atomic():
        disk = Disk.objects.select_for_update(of=("self",)).select_related("domain", "host", "quota").get(pk=disk.pk)
        _ensure(disk)
        before = disk.capacity_bytes
        if capacity_bytes <= before:
            raise FieldError("capacity_bytes", f"A disk only grows: it has {size(before)} now.")
        if capacity_bytes > LARGEST_DISK:
            raise FieldError("capacity_bytes", "A disk has at most 64 TiB.")
        if capacity_bytes % 512:
            raise FieldError("capacity_bytes", "A size is whole sectors of 512 bytes.")
        assert disk.domain is not None
        claim = rules.Claim(Resource.STORAGE, capacity_bytes - before, disk.domain.pk)
        rules.take(user, disk.quota, [claim], subject="this disk", fields={Resource.STORAGE: "capacity_bytes"}, obj=disk)
        disk.capacity_bytes = capacity_bytes
        space.take(disk, "capacity_bytes")
        _set_capacity(disk, capacity_bytes)
        vms = [attachment.vm for attachment in disk.attachments.select_related("vm")]
        params = {"before": before, "after": capacity_bytes}
        job = submit("disk.resize", user=user, target=disk, title=f"Grow disk {disk.name}", params=params, locks=vms)
        record("disk.resized", f"Disk {disk.name} grows from {size(before)} to {size(capacity_bytes)}", obj=disk, user=user, job=job)
        return job


def _ensure(disk: Disk) -> None:
    if (busy := holder_of(disk)) is not None:
        raise ObjectBusy(disk.name, busy)
    if not (verdict := check("resize", disk, **users_of(disk))):
        raise NotPossible(verdict.reason)


def _set_capacity(disk: Disk, capacity_bytes: int) -> None:
    disk.capacity_bytes, disk.rev = capacity_bytes, disk.rev + 1
    disk.save(update_fields=["capacity_bytes", "rev", "updated_at"])
    publish("disk", disk.pk, "changed", disk.rev, {"status": disk.status})


def _grow(ctx: Context) -> None:
    """Growing to a size that it has is nothing to do, so a second try does no harm."""
    disk = Disk.objects.select_related("domain", "host").get(pk=ctx.job.object_id)
    alive = alive_attachments(disk)
    if len(alive) > 1:
        raise StepFailed(f"{disk.name} is in use by several running VMs: shut down all but one.")
    if alive:
        disks.grow(link_to(alive[0].vm), str(alive[0].vm.pk), alive[0].target, disk.capacity_bytes)
        return
    _host, link = on_host.link_for(disk)
    pool = volumes.domain_of(disk).pool_name
    volumes.look(disk)
    pools.resize_volume(link, pool, disk.volume_name, disk.capacity_bytes)
    observe.disk_ready(disk, disk.path, pools.volume_info(link, pool, disk.volume_name).allocation)


def _ended(job: Job) -> None:
    """A disk that did not grow is as large as before, and its quota has the difference back."""
    if job.status == JobStatus.SUCCEEDED:
        return
    disk = Disk.objects.select_for_update(of=("self",)).filter(pk=job.object_id).first()
    if disk is not None and disk.capacity_bytes == job.params["after"]:
        _set_capacity(disk, job.params["before"])


register("disk.resize", [StepDef("grow", "Grow the disk", _grow)], cancellable=False, on_end=_ended)
