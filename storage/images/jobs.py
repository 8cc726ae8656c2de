"""The job that makes an image a disk: fetch, check, convert, send. Each step can be run again after its worker died."""

import hashlib
from pathlib import Path

from django.db import connection, transaction

from hypervisor import storage as pools
from hypervisor import streams
from hypervisor.errors import AlreadyExists
from hypervisor.spec import VolumeSpec
from jobs.engine import Context, StepDef, register
from jobs.errors import StepFailed
from jobs.models import Job, JobStatus
from storage import observe, on_host
from storage.images import fetch, qemu, spool
from storage.images.models import Image
from storage.images.probe import BadImage, probe
from storage.models import Disk, DiskStatus, StorageDomain

_READ = 4 << 20


def disk_of(ctx: Context) -> Disk:
    return Disk.objects.select_related("domain", "host__cluster", "image").get(pk=ctx.job.object_id)


def _domain(disk: Disk) -> StorageDomain:
    assert disk.domain is not None  # images lie in storage domains
    return disk.domain


def _file(disk: Disk) -> Path:
    """What goes to the storage: the converted image where there is one."""
    work = spool.path_of(disk.pk, spool.WORK)
    return work if work.exists() else _original(disk)


def _original(disk: Disk) -> Path:
    path = spool.path_of(disk.pk)
    if not path.exists():
        raise StepFailed("The file is no longer here: send it again.")
    return path


def check(ctx: Context) -> None:
    """The checksum of the file as it came, and QEMU's agreement with what our probe says it is."""
    disk = disk_of(ctx)
    image, path = disk.image, _original(disk)
    image.sha256 = _sha256(ctx, path)
    image.save(update_fields=["sha256"])
    if image.expected_sha256 and image.sha256 != image.expected_sha256:
        raise StepFailed(
            "The checksum is another: the file is damaged, or not the one that was meant.",
            f"expected SHA-256 {image.expected_sha256}\nfound    SHA-256 {image.sha256}",
        )
    try:
        found = probe(path)
        if found.format == "ova":
            raise BadImage("This is an OVA, a whole machine: upload it, and choose what becomes of it.")
        qemu.confirm(path, found.format, found.virtual_bytes)
    except BadImage as error:
        raise StepFailed(str(error)) from None
    ctx.save_facts(plain=found.plain)
    fetch.note_shape(disk, found, path.stat().st_size)


def _sha256(ctx: Context, path: Path) -> str:
    digest, size, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(_READ):
            digest.update(piece)
            done += len(piece)
            ctx.progress(done, size)
    return digest.hexdigest()


def convert(ctx: Context) -> None:
    """A new image in the wanted format. One that is in it already, and carries nothing along, goes as it is."""
    disk = disk_of(ctx)
    if disk.image.file_format in ("iso", disk.format) and ctx.facts.get("plain"):
        return
    if spool.free_bytes() == 0:
        raise StepFailed("The portal has no room left to convert the image.")
    target = spool.path_of(disk.pk, spool.WORK)
    draft = target.with_suffix(".converting")

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total)
        if spool.free_bytes() == 0:
            raise StepFailed("The portal has no room left to convert the image.")

    try:
        qemu.convert(_original(disk), disk.image.file_format, draft, disk.format, progress)
    except qemu.ConversionFailed as error:
        raise StepFailed("The image could not be converted.", str(error)) from None
    draft.rename(target)


def create_volume(ctx: Context) -> None:
    """Room for the file as it is: libvirt sees the format in it once the file is there. One that is there is from an earlier try."""
    disk = disk_of(ctx)
    _host, link = on_host.link_for(disk)
    spec = VolumeSpec(disk.volume_name, _file(disk).stat().st_size, "raw")
    try:
        pools.create_volume(link, _domain(disk).pool_name, spec)
    except AlreadyExists:
        ctx.log("The volume is there from an earlier try.")


def delete_volume(ctx: Context) -> None:
    disk = Disk.objects.select_related("domain", "host__cluster").filter(pk=ctx.job.object_id).first()
    if disk is None or disk.domain is None:
        return
    _host, link = on_host.link_for(disk)
    pools.delete_volume(link, disk.domain.pool_name, disk.volume_name)


def send(ctx: Context) -> None:
    disk = disk_of(ctx)

    def progress(done: int, total: int) -> None:
        try:
            ctx.progress(done, total)
        finally:
            connection.close()  # this runs on the link's thread, which would keep a connection of its own open

    _host, link = on_host.link_for(disk)
    streams.upload_file(link, _domain(disk).pool_name, disk.volume_name, _file(disk), progress)


def ready(ctx: Context) -> None:
    disk = disk_of(ctx)
    _host, link = on_host.link_for(disk)
    pools.glance(link, _domain(disk).pool_name)
    info = pools.volume_info(link, _domain(disk).pool_name, disk.volume_name)
    observe.disk_ready(disk, info.path, info.allocation)


def ended(job: Job) -> None:
    """The spool is emptied; a disk that was not made leaves nothing, one whose volume could not be removed stays, illegal."""
    key = job.object_id
    transaction.on_commit(lambda: spool.drop(key, spool.PART, spool.WORK, "converting"))
    disk = Disk.objects.filter(pk=key).first()
    if disk is None:
        return
    if job.status == JobStatus.SUCCEEDED:
        Image.objects.filter(disk=disk).update(url="")
    elif job.steps.filter(status="undo_failed").exists():
        observe.disk_status(disk, DiskStatus.ILLEGAL)
    else:
        observe.disk_removed(disk, job.user, job)


STEPS = [
    StepDef("check", "Check the image", check, weight=4),
    StepDef("convert", "Convert the image", convert, weight=10),
    StepDef("volume", "Create the volume", create_volume, delete_volume),
    StepDef("send", "Send the image to the storage", send, weight=20),
    StepDef("ready", "Take into use", ready),
]
register("image.import", STEPS, on_end=ended)
register("image.fetch", [StepDef("fetch", "Fetch the image", fetch.run, weight=20), *STEPS], on_end=ended)
