"""The jobs `vm.import` and `vm.export`. The first is `vm.create` with other disks; each step can be run again."""

from pathlib import Path

from django.db import connection, transaction

from hypervisor import storage as pools
from hypervisor import streams
from hypervisor.errors import AlreadyExists, NotFound
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job
from storage.images import export_jobs, ova, qemu, spool
from storage.images.probe import BadImage
from storage.models import Disk
from vms import jobs_create
from vms.models import VM
from vms.ova import services, writing
from vms.steps import link_to, vm_of

OVA = "export-ova"


def _archive(vm: VM) -> tuple[Path, ova.Ova]:
    path = spool.path_of(vm.pk)
    try:
        return path, ova.read(path)
    except FileNotFoundError:
        raise StepFailed("The file is no longer here: upload it again.") from None
    except BadImage as error:
        raise StepFailed(str(error)) from None


def check(ctx: Context) -> None:
    """The manifest, and QEMU's agreement about each disk."""
    path, found = _archive(vm_of(ctx))
    try:
        ova.verify(path, found, ctx.progress)
        for disk in found.disks:
            if disk.member is not None and disk.probe is not None:
                qemu.confirm(path, disk.probe.format, disk.probe.virtual_bytes, qemu.Part(disk.member.start, disk.member.size))
    except BadImage as error:
        raise StepFailed(str(error)) from None


def bring_disks(ctx: Context) -> None:
    """Each disk out of the archive, converted, and to its storage."""
    vm = vm_of(ctx)
    path, found = _archive(vm)
    disks = _in_order(vm)
    for number, (disk, source) in enumerate(zip(disks, found.disks, strict=True)):

        def progress(done: int, total: int, before: int = number) -> None:
            ctx.progress(before * total + done, len(disks) * total)

        if source.member is None:
            _make_empty(vm, disk)
        elif str(disk.pk) not in ctx.facts:
            _convert(path, source, disk, progress)
            _send(vm, disk, progress)
            ctx.save_facts(**{str(disk.pk): True})
        _note(vm, disk)
        spool.drop(disk.pk)


def _in_order(vm: VM) -> list[Disk]:
    rows = vm.attachments.filter(device="disk").select_related("disk__domain").order_by("target")
    return [attachment.disk for attachment in rows if attachment.disk is not None]


def _make_empty(vm: VM, disk: Disk) -> None:
    assert disk.domain is not None
    try:
        pools.create_volume(link_to(vm), disk.domain.pool_name, VolumeSpec(disk.volume_name, disk.capacity_bytes, disk.format))
    except AlreadyExists:
        return


def _convert(path: Path, source: ova.Disk, disk: Disk, progress: qemu.Progress) -> None:
    assert source.member is not None and source.probe is not None

    def watched(done: int, total: int) -> None:
        progress(done, 2 * total)
        if spool.free_bytes() == 0:
            raise StepFailed("The portal has no room left to convert the disks.")

    part = qemu.Part(source.member.start, source.member.size)
    try:
        qemu.convert(path, source.probe.format, spool.path_of(disk.pk, spool.WORK), disk.format, watched, part=part)
    except qemu.ConversionFailed as error:
        raise StepFailed("A disk could not be converted.", str(error)) from None


def _send(vm: VM, disk: Disk, progress: qemu.Progress) -> None:
    assert disk.domain is not None
    file, link = spool.path_of(disk.pk, spool.WORK), link_to(vm)

    def told(done: int, total: int) -> None:
        try:
            progress(total + done, 2 * total)
        finally:
            connection.close()  # this runs on the link's thread

    pools.delete_volume(link, disk.domain.pool_name, disk.volume_name)  # half a one, of an earlier try
    try:
        pools.create_volume(link, disk.domain.pool_name, VolumeSpec(disk.volume_name, file.stat().st_size, "raw"))
    except NotFound as error:
        raise StepFailed(f"Storage domain {disk.domain.name} is not ready on {vm.host}: {error}", str(error)) from None
    streams.upload_file(link, disk.domain.pool_name, disk.volume_name, file, told)
    pools.glance(link, disk.domain.pool_name)


def _note(vm: VM, disk: Disk) -> None:
    assert disk.domain is not None
    info = pools.volume_info(link_to(vm), disk.domain.pool_name, disk.volume_name)
    Disk.objects.filter(pk=disk.pk).update(path=info.path, allocated_bytes=info.allocation)


def _import_ended(job: Job) -> None:
    keys = [job.object_id, *Disk.objects.filter(attachments__vm=job.object_id).values_list("pk", flat=True)]
    jobs_create._end(job)

    def clear() -> None:
        for key in keys:
            spool.drop(key)

    transaction.on_commit(clear)


def bring_out(ctx: Context) -> None:
    """Every disk into the spool, as the compressed VMDK that each reader of OVAs takes."""
    spool.drop(ctx.job.object_id, OVA)
    for disk in services.disks_of(vm_of(ctx)):
        if not spool.path_of(disk.pk, _vmdk(ctx)).exists():
            export_jobs.bring(ctx, disk)
            export_jobs.convert_to(ctx, disk, "vmdk", _vmdk(ctx))


def _vmdk(ctx: Context) -> str:
    """By the job: what an export of the disk alone has made is another file."""
    return f"vmdk-{ctx.job.pk}"


def _undo_bring_out(ctx: Context) -> None:
    vm = VM.objects.filter(pk=ctx.job.object_id).first()
    for disk in services.disks_of(vm) if vm is not None else []:
        spool.drop(disk.pk, _vmdk(ctx), spool.WORK, "converting")
        export_jobs.drop_copy(ctx, disk)


def pack(ctx: Context) -> None:
    vm = vm_of(ctx)
    target = spool.path_of(vm.pk, OVA)
    draft = spool.path_of(vm.pk, "packing")
    files = [(disk, spool.path_of(disk.pk, _vmdk(ctx))) for disk in services.disks_of(vm)]
    if not target.exists():
        if sum(file.stat().st_size for _disk, file in files) > spool.free_bytes():
            raise StepFailed("The portal has no room for this OVA now.")
        writing.write(draft, vm, files, ctx.progress)
        draft.rename(target)
    for _disk, file in files:
        file.unlink(missing_ok=True)


def _undo_pack(ctx: Context) -> None:
    spool.drop(ctx.job.object_id, OVA, "packing")


_CREATE = {step.name: step for step in jobs_create.STEPS}
register(
    "vm.import",
    [
        StepDef("check", "Check the archive", check, weight=3),
        _CREATE["place"],
        StepDef("disks", "Convert the disks and send them to the storage", bring_disks, jobs_create.remove_disks, weight=20),
        _CREATE["domain"],
        _CREATE["start"],
        _CREATE["settle"],
    ],
    on_end=_import_ended,
)
register(
    "vm.export",
    [
        StepDef("bring", "Bring the disks from the storage and convert them", bring_out, _undo_bring_out, weight=20),
        StepDef("pack", "Pack the OVA", pack, _undo_pack, weight=3),
    ],
)
