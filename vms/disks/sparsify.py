"""Giving back what a disk takes and does not need: its volume is written anew without the zeros, while no VM runs with it.

As for a move, the row names one volume at any time, and `tidy` deletes the other.
"""

from uuid import uuid4

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from events.log import record
from hypervisor.errors import HypervisorError
from hypervisor.links import HostLink
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import holder_of, register, submit
from jobs.errors import ObjectBusy, StepFailed
from jobs.kinds import StepDef
from jobs.models import Job
from portal.errors import NotPossible
from portal.templatetags.vireo import size
from storage import on_host
from storage.disks import volumes
from storage.disks.can import check
from storage.models import Disk
from storage.services import users_of
from vms.disks.jobs import redefine
from vms.disks.use import alive_attachments
from vms.models import VmStatus
from vms.steps import copy_volume


def sparsify(user: User, disk: Disk) -> Job:
    """Raises PermissionDenied, ObjectBusy, NotPossible: a VM runs with it, or it shares its content with others."""
    require(user, "disk.edit", disk)
    with transaction.atomic():
        disk = Disk.objects.select_for_update(of=("self",)).select_related("domain", "host").get(pk=disk.pk)
        if (busy := holder_of(disk)) is not None:
            raise ObjectBusy(disk.name, busy)
        if not (verdict := check("sparsify", disk, **users_of(disk))):
            raise NotPossible(verdict.reason)
        vms = [attachment.vm for attachment in disk.attachments.select_related("vm")]
        if running := next((vm for vm in vms if vm.status != VmStatus.DOWN), None):
            raise NotPossible(f"{running.name} is {running.get_status_display().lower()}: shut it down first.")
        params = {"from": disk.volume_name, "to": f"{uuid4()}.{disk.format}"}
        return submit("disk.sparsify", user=user, target=disk, title=f"Sparsify disk {disk.name}", params=params, locks=vms)


def _disk(ctx: Context) -> Disk:
    found = Disk.objects.select_related("domain", "host__cluster").filter(pk=ctx.job.object_id).first()
    if found is None:
        raise StepFailed(f"{ctx.job.object_name} is gone.")
    return found


def _place(disk: Disk) -> tuple[HostLink, str]:
    _host, link = on_host.link_for(disk)
    return link, volumes.domain_of(disk).pool_name


def _write_anew(ctx: Context) -> None:
    disk, name = _disk(ctx), ctx.params["to"]
    if disk.volume_name == name:
        return
    if alive_attachments(disk):
        raise StepFailed(f"A VM runs with {disk.name} by now.")
    link, pool = _place(disk)
    ctx.save_facts(before=volumes.look(disk).allocation)
    copy_volume(ctx, link, pool, disk, VolumeSpec(name, disk.capacity_bytes, disk.format))


def _go_over(ctx: Context) -> None:
    """The row, and then the definitions."""
    disk = _disk(ctx)
    _name(disk, ctx.params["to"])
    _redefine_all(disk)


def _name(disk: Disk, volume: str) -> None:
    disk.volume, disk.path = volume, f"{volumes.domain_of(disk).path}/{volume}"
    disk.save(update_fields=["volume", "path", "updated_at"])


def _as_the_row_says(ctx: Context) -> None:
    """Undo of going over: both volumes hold the same, so the row stays with the one that it names."""
    _redefine_all(_disk(ctx))


def _redefine_all(disk: Disk) -> None:
    for attachment in disk.attachments.select_related("vm__host__cluster", "vm__cluster", "vm__owner"):
        redefine(attachment.vm)


def _tidy(ctx: Context) -> None:
    """Deletes the volume that the row does not name."""
    disk = _disk(ctx)
    other = ctx.params["from"] if disk.volume_name == ctx.params["to"] else ctx.params["to"]
    volumes.drop(*_place(disk), other)


def _delete_old(ctx: Context) -> None:
    """One that cannot be deleted now undoes nothing: a scan of the storage domain finds it."""
    disk = _disk(ctx)
    try:
        _tidy(ctx)
    except (HypervisorError, StepFailed) as error:
        ctx.log(f"The old volume is left behind: {error}")
    volumes.note(disk)
    disk.refresh_from_db()
    before, after = int(ctx.facts.get("before", 0)), volumes.look(disk).allocation
    text = f"Disk {disk.name} takes {size(after)} now, and took {size(before)}"
    ctx.log(text)
    record("disk.sparsified", text, obj=disk, user=ctx.job.user, job=ctx.job)


register(
    "disk.sparsify",
    [
        StepDef("copy", "Write it anew without its zeros", _write_anew, _tidy, weight=20),
        StepDef("switch", "Go over to the new volume", _go_over, _as_the_row_says),
        StepDef("delete", "Delete the old volume", _delete_old),
    ],
)
