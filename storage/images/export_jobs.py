"""The job that makes a file of a disk, in the format that was asked for."""

from hypervisor import storage as pools
from hypervisor import streams
from hypervisor.spec import VolumeSpec
from jobs.engine import Context, StepDef, register
from jobs.errors import StepFailed
from storage import on_host
from storage.images import qemu, spool
from storage.images.downloads import export_path
from storage.images.probe import BadImage, probe
from storage.models import Disk


def bring(ctx: Context, disk: Disk) -> None:
    """The disk's volume, whole, into the spool. A thin copy, or one with snapshots, is made whole by its host first."""
    assert disk.domain is not None
    _host, link = on_host.link_for(disk)
    pool, name = disk.domain.pool_name, disk.volume_name
    if not disk.is_whole:
        name = _whole_name(ctx, disk)
        pools.delete_volume(link, pool, name)  # of an earlier try
        pools.copy_volume(link, pool, disk.path, VolumeSpec(name, disk.capacity_bytes, disk.format), ctx.progress)
    if streams.file_bytes(link, pool, name) > spool.free_bytes():
        raise StepFailed("The portal has no room for this disk now.")
    streams.save_download(link, pool, name, spool.path_of(disk.pk, spool.WORK), ctx.progress)
    drop_copy(ctx, disk)


def drop_copy(ctx: Context, disk: Disk) -> None:
    """The copy that was made whole goes from its storage."""
    if not disk.is_whole and disk.domain is not None:
        _host, link = on_host.link_for(disk)
        pools.delete_volume(link, disk.domain.pool_name, _whole_name(ctx, disk))


def _whole_name(ctx: Context, disk: Disk) -> str:
    return f"{disk.pk}.{ctx.job.pk}.whole"  # it begins as all files of the disk do, so no scan takes it for a stray


def convert_to(ctx: Context, disk: Disk, format: str, suffix: str) -> None:
    """From what `bring` brought to a finished file; it has its name only when it is whole."""
    source, target = spool.path_of(disk.pk, spool.WORK), spool.path_of(disk.pk, suffix)
    if not source.exists():
        if target.exists():
            return
        raise StepFailed("The file is no longer here: export the disk again.")
    held = "raw" if disk.format == "raw" or disk.content == "iso" else disk.format
    try:
        if held != "raw" and probe(source).format != held:
            raise BadImage("The disk is not of the format that it should be.")
        if format == held:
            source.rename(target)
            return
        draft = spool.path_of(disk.pk, "converting")
        more = "subformat=streamOptimized" if format == "vmdk" else ""
        qemu.convert(source, held, draft, format, ctx.progress, options_of=more)
    except (BadImage, qemu.ConversionFailed) as error:
        raise StepFailed("The disk could not be converted.", str(error)) from None
    draft.rename(target)
    source.unlink(missing_ok=True)


def _disk(ctx: Context) -> Disk:
    return Disk.objects.select_related("domain", "host__cluster").get(pk=ctx.job.object_id)


def _bring(ctx: Context) -> None:
    disk = _disk(ctx)
    export_path(disk, ctx.params["format"]).unlink(missing_ok=True)
    bring(ctx, disk)


def _undo_bring(ctx: Context) -> None:
    disk = _disk(ctx)
    spool.drop(disk.pk, spool.WORK, "converting")
    drop_copy(ctx, disk)


def _convert(ctx: Context) -> None:
    format = ctx.params["format"]
    convert_to(ctx, _disk(ctx), format, f"export-{format}")


register(
    "disk.export",
    [
        StepDef("bring", "Bring the disk from the storage", _bring, _undo_bring, weight=10),
        StepDef("convert", "Convert it", _convert, weight=10),
    ],
)
