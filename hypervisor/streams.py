"""The bytes of a volume, in and out: holes of a file stay holes, and a part can be read alone."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import libvirt

from .errors import HostUnreachable
from .links import HostLink
from .storage import PROGRESS_SECONDS, TRANSFER_SECONDS, Progress

# What fits into one message of libvirt's stream protocol; more would be cut into such pieces anyway.
PIECE = 256 * 1024
_HOLE = 1 << 40
# Of a download: bytes taken at once, and how many such pieces wait for their reader.
_RECEIVED, _AHEAD = 1 << 19, 4


def upload_file(link: HostLink, pool: str, name: str, path: Path, progress: Progress | None = None) -> None:
    """Write a file into a volume that is there; its holes are not sent.

    Args:
        progress: called about twice a second with (bytes done, bytes in all), on a thread of the link; raise in it to cancel.
    """
    size = path.stat().st_size

    def run(connection: libvirt.virConnect) -> None:
        volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
        stream = connection.newStream()
        volume.upload(stream, 0, size, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
        try:
            with path.open("rb") as file:
                _send(stream, file, size, progress)
        except BaseException:
            with suppress(libvirt.libvirtError):
                stream.abort()
            raise
        stream.finish()

    link.call_apart(run, timeout=TRANSFER_SECONDS, what=f"uploading {name}")


def _send(stream: libvirt.virStream, file: BinaryIO, size: int, progress: Progress | None) -> None:
    told = time.monotonic()
    for start, end, is_data in _sections(file.fileno(), size):
        if is_data:
            file.seek(start)
            for done in range(start, end, PIECE):
                _send_all(stream, file.read(min(PIECE, end - done)))
                if progress and time.monotonic() - told > PROGRESS_SECONDS:
                    progress(done, size)
                    told = time.monotonic()
        else:
            for done in range(start, end, _HOLE):
                stream.sendHole(min(_HOLE, end - done), 0)
    if progress:
        progress(size, size)


def _send_all(stream: libvirt.virStream, piece: bytes) -> None:
    while piece:
        piece = piece[stream.send(piece) :]


def _sections(descriptor: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether there is data) of a file, in order. A file system without holes has one section."""
    at = 0
    while at < size:
        try:
            data = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            data = size
        if data > at:
            yield at, min(data, size), False
        if data >= size:
            return
        at = min(os.lseek(descriptor, data, os.SEEK_HOLE), size)
        yield data, at, True


def file_bytes(link: HostLink, pool: str, name: str) -> int:
    """How long the volume's file is, which is what a download gives; not what a guest sees of a qcow2."""

    def run(connection: libvirt.virConnect) -> int:
        volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
        return volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]

    return link.call(run, what=f"reading {name}")


@contextmanager
def opened_download(link: HostLink, pool: str, name: str, offset: int, length: int) -> Iterator[Callable[[], bytes]]:
    """A function that gives the next bytes of a part of a volume, and b"" at its end. It may be called from any one thread at a time.

    The host's bytes are received by a thread of their own, a few pieces ahead of whoever takes them.

    Raises:
        NotFound, HostUnreachable
    """
    session = link.open_apart(TRANSFER_SECONDS)
    pieces: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(piece: bytes | BaseException) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                pieces.put(piece, timeout=1)
                return

    def pump(connection: libvirt.virConnect) -> None:
        stream = connection.newStream()
        connection.storagePoolLookupByName(pool).storageVolLookupByName(name).download(stream, offset, length, 0)
        while not stopped.is_set() and (piece := stream.recv(_RECEIVED)):
            put(piece)
        with suppress(libvirt.libvirtError):
            stream.abort() if stopped.is_set() else stream.finish()

    def run() -> None:
        try:
            session.run(pump, TRANSFER_SECONDS, f"downloading {name}")
            put(b"")
        except BaseException as error:  # noqa: BLE001 - whoever reads raises it
            put(error)

    def read() -> bytes:
        piece = pieces.get()
        if isinstance(piece, BaseException):
            raise piece
        return piece

    threading.Thread(target=run, name=f"download-{name}", daemon=True).start()
    try:
        yield read
    finally:
        stopped.set()
        session.retire(HostUnreachable("the download has ended"))


def save_download(link: HostLink, pool: str, name: str, target: Path, progress: Progress | None = None) -> None:
    """The whole volume into a file of ours. Raises what progress raises; the file then stays half-written."""
    size, done, told = file_bytes(link, pool, name), 0, time.monotonic()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, opened_download(link, pool, name, 0, size) as read:
        while piece := read():
            if piece.count(0) == len(piece):
                file.seek(len(piece), os.SEEK_CUR)
            else:
                file.write(piece)
            done += len(piece)
            if progress and time.monotonic() - told > PROGRESS_SECONDS:
                progress(done, size)
                told = time.monotonic()
        file.truncate(size)
