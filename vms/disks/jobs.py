"""Jobs on the disks of one VM: attach, detach, limit. Each looks at the domain first, so a second try finds what the first did."""

import time

from hypervisor import disks
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus, StepStatus
from portal.live import publish
from storage import observe as storage_observe
from storage.disks import volumes
from storage.models import Disk, DiskStatus
from vms import observe
from vms.models import VM, DiskAttachment
from vms.spec import attachments_of, build_spec, disk_spec
from vms.steps import define_as, is_alive, link_to, state_of, vm_of

# How long a guest may think about letting go of a disk: a Linux guest takes well under a second.
UNPLUG_SECONDS = 30.0
POLL_SECONDS = 0.25


def attachment_of(ctx: Context) -> DiskAttachment:
    """Raises StepFailed when it is gone."""
    found = find_attachment(ctx)
    if found is None:
        raise StepFailed(f"The disk is no longer attached to {ctx.job.object_name}.")
    return found


def find_attachment(ctx: Context) -> DiskAttachment | None:
    return DiskAttachment.objects.select_related("disk__domain", "disk__host").filter(pk=ctx.params["attachment"]).first()


def redefine(vm: VM, without: DiskAttachment | None = None) -> None:
    """The definition has the VM's disks, but one. A domain that is defined nowhere gets them at its next start."""
    if vm.host is None or state_of(vm) is None:
        return
    define_as(vm, build_spec(vm, [each for each in attachments_of(vm) if without is None or each.pk != without.pk]))
    observe.drifted(vm, ())


def _disk(ctx: Context) -> Disk | None:
    return Disk.objects.select_related("domain", "host").filter(pk=ctx.params["disk"]).first()


def _make_volume(ctx: Context) -> None:
    disk = _disk(ctx)
    if disk is None:
        raise StepFailed("The disk is gone.")
    volumes.make(disk)
    volumes.note(disk)


def _drop_volume(ctx: Context) -> None:
    if (disk := _disk(ctx)) is not None:
        volumes.drop_of(disk)


def plug(ctx: Context) -> None:
    """The running domain first: what it refuses is not defined either."""
    vm, attachment = vm_of(ctx), attachment_of(ctx)
    if is_alive(vm):
        spec, link = disk_spec(attachment), link_to(vm)
        found = disks.source_of(link, str(vm.pk), spec.target)
        if found not in (None, spec.source):
            raise StepFailed(f"{vm.name} has another disk as {spec.target} already.")
        if found is None:
            disks.plug(link, str(vm.pk), spec)
    redefine(vm)


def _unplug_again(ctx: Context) -> None:
    vm, attachment = vm_of(ctx), find_attachment(ctx)
    if attachment is not None:
        take_out(ctx, vm, attachment)


def take_out(ctx: Context, vm: VM, attachment: DiskAttachment) -> None:
    """Out of the running domain, then out of the definition. Raises StepFailed when the guest keeps it; then both still have it."""
    if is_alive(vm):
        spec, link = disk_spec(attachment), link_to(vm)
        disks.unplug(link, str(vm.pk), spec)
        deadline = time.monotonic() + UNPLUG_SECONDS
        while disks.source_of(link, str(vm.pk), spec.target) == spec.source:
            ctx.check()
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"The guest of {vm.name} did not let go of {spec.target} within {UNPLUG_SECONDS:.0f} s. "
                    "Unmount it there and try again, or shut the VM down first."
                )
            time.sleep(POLL_SECONDS)
    redefine(vm, without=attachment)


def unplug(ctx: Context) -> None:
    """A second try may find the row gone already."""
    attachment = find_attachment(ctx)
    if attachment is not None:
        take_out(ctx, vm_of(ctx), attachment)


def _forget(ctx: Context) -> None:
    attachment = find_attachment(ctx)
    if attachment is not None:
        attachment.delete()
        publish("vm", ctx.job.object_id, "changed", vm_of(ctx).rev)


def _limit(ctx: Context) -> None:
    """Row, running domain, definition."""
    _set_limits(ctx, *ctx.params["limits"])


def _limit_again(ctx: Context) -> None:
    if find_attachment(ctx) is not None:
        _set_limits(ctx, *ctx.params["before"])


def _set_limits(ctx: Context, iops: int, bytes_per_second: int) -> None:
    vm, attachment = vm_of(ctx), attachment_of(ctx)
    attachment.io_iops, attachment.io_bytes = iops, bytes_per_second
    attachment.save(update_fields=["io_iops", "io_bytes"])
    if is_alive(vm):
        disks.limit(link_to(vm), str(vm.pk), attachment.target, iops, bytes_per_second)
    redefine(vm)
    publish("vm", vm.pk, "changed", vm.rev)


def _attached(job: Job) -> None:
    """An attachment that did not come about goes; so does a disk that was made for it."""
    publish("vm", job.object_id, "changed")
    if job.status == JobStatus.SUCCEEDED:
        return
    left = job.steps.filter(status=StepStatus.UNDO_FAILED)
    if not left.filter(name="plug").exists():
        DiskAttachment.objects.filter(pk=job.params["attachment"]).delete()
    disk = Disk.objects.filter(pk=job.params["disk"]).first()
    if disk is None or not job.params["made"] or disk.attachments.exists():
        return
    if left.exists():
        storage_observe.disk_status(disk, DiskStatus.ILLEGAL)
    else:
        storage_observe.disk_removed(disk, job.user, job)


_PLUG = StepDef("plug", "Plug the disk in", plug, _unplug_again)
register("vm.attach_disk", [_PLUG], on_end=_attached)
register("vm.attach_new_disk", [StepDef("volume", "Create the volume", _make_volume, _drop_volume), _PLUG], on_end=_attached)
register("vm.detach_disk", [StepDef("unplug", "Take the disk out", unplug), StepDef("forget", "Forget the slot", _forget)])
register("vm.limit_disk", [StepDef("limit", "Set the limits", _limit, _limit_again)], cancellable=False)
