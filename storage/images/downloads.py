"""Disks and images out: streamed from the storage as they lie there, or exported into another format first."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings

from accounts.models import User
from accounts.permissions import require
from events.log import record
from hypervisor import streams
from hypervisor.errors import HypervisorError
from hypervisor.links import HostLink
from jobs import engine
from jobs.engine import holder_of
from jobs.errors import NotNow
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from storage import on_host
from storage.images import spool
from storage.models import Disk, DiskStatus
from vms.models import VmStatus

EXPORT_FORMATS = ("qcow2", "raw", "vmdk")
EXPORT_SECONDS = 24 * 3600
LOOK_SECONDS = 5.0  # between two looks whether a VM began to write
_PIECE = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Part:
    """From byte `start`, `length` of `total`."""

    start: int
    length: int
    total: int

    @property
    def is_whole(self) -> bool:
        return self.length == self.total


class BadRange(Exception):
    """The range lies outside of the file (416)."""


def part_of(total: int, header: str) -> Part:
    """What a Range header asks for; several ranges, and what is no range, ask for the whole. Raises BadRange."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return Part(0, total, total)
    if not found[1]:
        start = max(0, total - int(found[2]))
        length = total - start
    else:
        start = int(found[1])
        length = min(int(found[2]) + 1 if found[2] else total, total) - start
    if length <= 0 or start >= total:
        raise BadRange
    return Part(start, length, total)


def ensure(disk: Disk) -> None:
    """Whether its bytes stand still: nobody writes to it, and no job works on it. Raises NotPossible."""
    holder = holder_of(disk)
    if disk.domain is None:
        raise NotPossible(f"{disk.name} lies outside of Vireo's storage.")
    if holder is not None:
        raise NotPossible(f"{disk.name} is busy: «{holder.title}» runs.")
    if disk.status != DiskStatus.OK:
        raise NotPossible(f"{disk.name} is {disk.get_status_display().lower()}.")
    writer = writer_of(disk)
    if writer:
        raise NotPossible(f"{writer} runs and writes to {disk.name}: shut it down first.")


def writer_of(disk: Disk) -> str:
    """The name of a VM that may be writing to the disk; "" for none."""
    at_rest = (VmStatus.DOWN, VmStatus.IMAGE_LOCKED)
    rows = disk.attachments.filter(read_only=False).exclude(vm__status__in=at_rest)
    return rows.values_list("vm__name", flat=True).first() or ""


def size_of(disk: Disk) -> tuple[HostLink, int]:
    """The link that the bytes come over, and how many there are. Raises NotPossible."""
    if not disk.is_whole:
        raise NotPossible(f"{disk.name} builds on other files: export it, which makes it whole.")
    try:
        _host, link = on_host.link_for(disk)
        return link, streams.file_bytes(link, disk.domain.pool_name, disk.volume_name)
    except (HypervisorError, NotNow) as error:
        raise NotPossible(str(error)) from None


def note(user: User, obj: Any, part: Part) -> None:
    """One event for a download of a disk or a VM, not for each part that a client fetches of it."""
    if part.start == 0:
        kind = f"{obj.OBJECT_TYPE}.downloaded"
        record(kind, f"{user} downloaded {obj.name}", obj=obj, user=user, details={"bytes": part.length})


async def from_storage(link: HostLink, disk: Disk, part: Part) -> AsyncIterator[bytes]:
    """The bytes, as the host sends them; ends early, so that the client notices, when a VM begins to write to the disk."""
    opened = streams.opened_download(link, disk.domain.pool_name, disk.volume_name, part.start, part.length)
    read = await asyncio.to_thread(opened.__enter__)
    looked = time.monotonic()
    try:
        async for piece in _ahead(read):
            yield piece
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                if await database_sync_to_async(writer_of)(disk):
                    raise ConnectionAbortedError("a VM began to write to the disk")
    finally:
        opened.__exit__(None, None, None)  # only tells the session's own thread to end


async def from_file(path: Path, part: Part) -> AsyncIterator[bytes]:
    """A part of a file of the spool."""
    file = await asyncio.to_thread(path.open, "rb")
    left = part.length

    def read() -> bytes:
        nonlocal left
        piece = file.read(min(_PIECE, left))
        left -= len(piece)
        return piece

    try:
        file.seek(part.start)
        async for piece in _ahead(read):
            yield piece
    finally:
        file.close()


async def _ahead(read: Callable[[], bytes]) -> AsyncIterator[bytes]:
    """What `read` gives until it gives nothing; the next piece is read while this one is sent."""
    coming = asyncio.ensure_future(asyncio.to_thread(read))
    try:
        while piece := await coming:
            coming = asyncio.ensure_future(asyncio.to_thread(read))
            yield piece
    finally:
        coming.cancel()


@dataclass(frozen=True)
class Offer:
    """What a disk's page shows. Args: reason: why it cannot be downloaded now. whole: its own file can be, without an export."""

    reason: str
    whole: bool
    exports: list[tuple[str, int]]


def offer(disk: Disk) -> Offer:
    """What can be downloaded of the disk now."""
    try:
        ensure(disk)
        reason = ""
    except NotPossible as error:
        reason = error.reason
    return Offer(reason, disk.is_whole, exports_of(disk))


def export_path(disk: Disk, format: str) -> Path:
    return spool.path_of(disk.pk, f"export-{format}")


def exports_of(disk: Disk) -> list[tuple[str, int]]:
    """(format, bytes) of each export that waits to be fetched."""
    paths = ((format, export_path(disk, format)) for format in EXPORT_FORMATS)
    return [(format, path.stat().st_size) for format, path in paths if path.exists()]


def export(user: User, disk: Disk, format: str) -> Job:
    """Makes a file of the disk in another format, whole; it is kept for a day.

    Raises:
        PermissionDenied, NotPossible, FieldError.
    """
    require(user, "disk.download", disk)
    if format not in EXPORT_FORMATS:
        raise FieldError("format", "Choose qcow2, raw or vmdk.")
    ensure(disk)
    # The VMs are locked with it: none of them starts, and writes, in the middle.
    vms = [attachment.vm for attachment in disk.attachments.filter(read_only=False).select_related("vm")]
    return engine.submit(
        "disk.export", user=user, target=disk, title=f"Export {disk.name} as {format}", params={"format": format}, locks=[disk, *vms]
    )


def sweep() -> None:
    """Exports that were kept long enough go."""
    before = time.time() - EXPORT_SECONDS
    for path in settings.UPLOAD_DIR.glob("*.export-*"):
        try:
            if path.stat().st_mtime < before:
                path.unlink()
        except FileNotFoundError:
            continue
