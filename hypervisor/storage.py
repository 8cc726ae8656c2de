"""Storage pools and volumes on a host."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, TypeVar

import libvirt

from .errors import AlreadyExists, Busy, CallTimeout, HypervisorError, InvalidState, NotFound, NotSupported, OperationFailed, translate
from .links import HostLink
from .pool_xml import BUILT, pool_from_xml, pool_to_xml, same_place
from .spec import PoolSpec, VolumeSpec
from .volume_xml import volume_from_xml, volume_to_xml, written_from_xml

T = TypeVar("T")

POOL_SECONDS = 30.0
REMOTE_POOL_SECONDS = 120.0  # Ceph's client gives up after 30 s of each of its steps
# Copies and uploads have no natural limit; a host that stops answering ends them by keepalive long before.
TRANSFER_SECONDS = 24 * 3600.0
PROGRESS_SECONDS = 0.5
BUSY_SECONDS, BUSY_POLL_SECONDS = 30.0, 0.2
_CHUNK = 256 * 1024

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PoolInfo:
    """A pool's space in bytes; all 0 while it is not active."""

    capacity: int
    allocation: int
    available: int
    active: bool


@dataclass(frozen=True)
class VolumeInfo:
    """A volume: `capacity` as the guest sees it, `allocation` on the disk, both in bytes."""

    name: str
    path: str
    capacity: int
    allocation: int
    format: str
    backing_path: str


def ensure_pool(link: HostLink, spec: PoolSpec) -> None:
    """Define, autostart and start the pool, and make its directory; does nothing where that is done.

    Raises:
        AlreadyExists: another pool has the name or the storage.
    """

    def run(connection: libvirt.virConnect) -> None:
        try:
            pool = connection.storagePoolLookupByName(spec.name)
            found = pool_from_xml(pool.XMLDesc(0))
            if not same_place(found, spec):
                raise AlreadyExists(f"pool {spec.name} is already there, with {found.path or found.source}")
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            pool = connection.storagePoolDefineXML(pool_to_xml(spec), 0)
        pool.setAutostart(1)
        if not pool.isActive():
            _start(pool, spec.kind)

    _call_for(link, spec.kind)(run, what=f"setting up pool {spec.name}")


def _call_for(link: HostLink, kind: str) -> Callable[..., Any]:
    """A directory answers at once. A storage that is away keeps libvirtd waiting for as long as its client waits: aside, then."""
    if kind == "dir":
        return partial(link.call, timeout=POOL_SECONDS)
    return partial(link.call_apart, timeout=REMOTE_POOL_SECONDS)


def _start(pool: libvirt.virStoragePool, kind: str) -> None:
    if kind not in BUILT:
        pool.create(0)
        return
    try:
        pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
    except libvirt.libvirtError as error:
        if not isinstance(translate(error), NotSupported):
            raise
        pool.create(0)


def pool_info(link: HostLink, name: str) -> PoolInfo:
    """Space of a pool.

    Raises:
        NotFound
    """

    def read(pool: libvirt.virStoragePool) -> PoolInfo:
        active = bool(pool.isActive())
        _state, capacity, allocation, available = pool.info()
        return PoolInfo(capacity, allocation, available, active) if active else PoolInfo(0, 0, 0, False)

    return _on_pool(link, name, read, "reading the pool")


def look_at_pool(link: HostLink, spec: PoolSpec, seconds: float) -> PoolInfo:
    """A pool's space as it is now: what the storage says, not what libvirt remembers. Starts a remote pool that is stopped.

    Args:
        seconds: for a storage that does not answer; the host itself is not suspected.

    Raises:
        NotFound: no such pool; OperationFailed: the storage does not answer, or refuses.
    """

    def run(connection: libvirt.virConnect) -> PoolInfo:
        pool = connection.storagePoolLookupByName(spec.name)
        if pool.isActive():
            try:
                pool.refresh()
            except libvirt.libvirtError:
                if not pool.isActive():  # libvirt stops a pool that it cannot read; else a volume is only being made there
                    raise
        elif spec.kind != "dir":
            _start(pool, spec.kind)
        active = bool(pool.isActive())
        _state, capacity, allocation, available = pool.info()
        return PoolInfo(capacity, allocation, available, active) if active else PoolInfo(0, 0, 0, False)

    try:
        return link.call_apart(run, timeout=seconds, what=f"looking at pool {spec.name}")
    except CallTimeout:
        raise OperationFailed(f"the storage did not answer within {seconds:.0f} seconds") from None


def refresh_pool(link: HostLink, name: str, seconds: float = BUSY_SECONDS) -> None:
    """Have libvirt look at what is really there. It refuses while it makes a volume in the pool, and has no event for its end.

    Args:
        seconds: how long to wait for that end.

    Raises:
        Busy: it still makes one. What it made or saw before can be asked for all the same.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            _on_pool(link, name, lambda pool: pool.refresh(), "refreshing the pool")
            return
        except HypervisorError as error:
            if "asynchronous jobs running" not in error.message:
                raise
        if time.monotonic() >= deadline:
            raise Busy("A volume is being made in this storage domain, and its host looks at the others only afterwards.")
        time.sleep(BUSY_POLL_SECONDS)


def glance(link: HostLink, name: str) -> None:
    """The same if it is possible now: for who needs nothing that others made, or can do without."""
    with suppress(Busy):
        refresh_pool(link, name, 0)


def remove_pool(link: HostLink, name: str) -> None:
    """Stop and undefine the pool; its directory and volumes stay. One that is not there is fine."""

    def run(connection: libvirt.virConnect) -> None:
        try:
            pool = connection.storagePoolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            return
        if pool.isActive():
            pool.destroy()
        if pool.isPersistent():
            pool.undefine()

    link.call(run, timeout=POOL_SECONDS, what=f"removing pool {name}")


def create_volume(link: HostLink, pool: str, spec: VolumeSpec) -> str:
    """Make an empty volume, or with `backing_path` a thin copy; returns its path.

    Raises:
        AlreadyExists, NoSpace
    """
    return _on_pool(link, pool, lambda found: found.createXML(volume_to_xml(spec)).path(), f"creating {spec.name}")


def copy_volume(link: HostLink, pool: str, src_path: str, spec: VolumeSpec, progress: Progress | None = None) -> str:
    """Copy a volume in full, backing files included; returns the copy's path. Takes as long as it takes.

    Args:
        src_path: a volume in any pool of the host.
        progress: called about twice a second with (bytes done, bytes in all), on the calling thread. Raise in it to cancel:
            the copy is then removed when the host has ended it.

    Raises:
        NotFound: no such volume; AlreadyExists; NoSpace.
    """

    def size(connection: libvirt.virConnect) -> int:
        return connection.storageVolLookupByPath(src_path).info()[2]

    def run(connection: libvirt.virConnect) -> str:
        source = connection.storageVolLookupByPath(src_path)
        return connection.storagePoolLookupByName(pool).createXMLFrom(volume_to_xml(spec), source, 0).path()

    total = link.call(size, what=f"reading {src_path}")
    copy: Future[str] = Future()

    def in_background() -> None:
        try:
            copy.set_result(link.call_apart(run, timeout=TRANSFER_SECONDS, what=f"copying {src_path}"))
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            copy.set_exception(error)

    threading.Thread(target=in_background, name=f"copy-{spec.name}", daemon=True).start()
    try:
        while not wait([copy], PROGRESS_SECONDS).done:
            if progress:
                progress(min(_allocation(link, pool, spec.name), total), total)
    except BaseException:
        # libvirt cannot stop a copy, nor remove one that it is writing.
        copy.add_done_callback(lambda ended: None if ended.exception() else _remove_quietly(link, pool, spec.name))
        raise
    path = copy.result()
    if progress:
        progress(total, total)
    return path


def _allocation(link: HostLink, pool: str, name: str) -> int:
    try:
        return volume_info(link, pool, name).allocation
    except HypervisorError:
        return 0


def _remove_quietly(link: HostLink, pool: str, name: str) -> None:
    with suppress(HypervisorError):
        delete_volume(link, pool, name)


def upload(link: HostLink, pool: str, name: str, fileobj: BinaryIO, size: int, progress: Progress | None = None) -> None:
    """Write `size` bytes of a file into a volume that is there.

    Args:
        progress: called with (bytes done, size); raise in it to cancel.

    Raises:
        OperationFailed: the file is shorter than `size`.
    """

    def run(connection: libvirt.virConnect) -> None:
        volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
        stream = connection.newStream()
        volume.upload(stream, 0, size, 0)
        try:
            _send(stream, fileobj, size, progress)
        except BaseException:
            with suppress(libvirt.libvirtError):
                stream.abort()
            raise
        stream.finish()

    link.call_apart(run, timeout=TRANSFER_SECONDS, what=f"uploading {name}")


def _send(stream: libvirt.virStream, fileobj: BinaryIO, size: int, progress: Progress | None) -> None:
    done, told = 0, time.monotonic()
    while done < size:
        chunk = fileobj.read(min(_CHUNK, size - done))
        if not chunk:
            raise OperationFailed(f"the file ended after {done} of {size} bytes")
        while chunk:
            sent = stream.send(chunk)
            done, chunk = done + sent, chunk[sent:]
        if progress and (time.monotonic() - told > PROGRESS_SECONDS or done == size):
            progress(done, size)
            told = time.monotonic()


def read_volume(link: HostLink, pool: str, name: str, length: int) -> bytes:
    """The first `length` bytes of a volume that is a file or a block device, or all of a shorter one."""

    def run(connection: libvirt.virConnect) -> bytes:
        volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
        stream = connection.newStream()
        volume.download(stream, 0, length, 0)
        head = b""
        while len(head) < length and (chunk := stream.recv(length - len(head))):
            head += chunk
        stream.finish()
        return head

    return link.call(run, timeout=POOL_SECONDS, what=f"reading {name}")


def delete_volume(link: HostLink, pool: str, name: str) -> None:
    """Remove a volume; one that is not there is fine, but its pool must be."""

    def run(found: libvirt.virStoragePool) -> bool:
        try:
            volume = found.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
            return False
        volume.delete(0)
        return True

    if not _on_pool(link, pool, run, f"removing {name}"):
        refresh_pool(link, pool)  # libvirt knows only what it made or has seen
        _on_pool(link, pool, run, f"removing {name}")


def list_volumes(link: HostLink, pool: str) -> list[VolumeInfo]:
    """All volumes of a pool, as of its last refresh, but those that another host has deleted since."""

    def run(found: libvirt.virStoragePool) -> list[VolumeInfo]:
        infos = []
        for volume in found.listAllVolumes():
            try:
                infos.append(_info(volume))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                    raise
        return infos

    return _on_pool(link, pool, run, "listing volumes")


def volume_names(link: HostLink, pool: str) -> frozenset[str]:
    """Names of a pool's volumes, as of its last refresh."""
    return _on_pool(link, pool, lambda found: frozenset(found.listVolumes()), "listing volumes")


def volume_info(link: HostLink, pool: str, name: str) -> VolumeInfo:
    """One volume.

    Raises:
        NotFound
    """
    return _on_pool(link, pool, lambda found: _info(found.storageVolLookupByName(name)), f"reading {name}")


def written_at(link: HostLink, pool: str, name: str) -> str:
    """When the volume's file was last written to, as its file system says; empty for a volume that is no file.

    Raises:
        NotFound
    """
    return _on_pool(link, pool, lambda found: written_from_xml(found.storageVolLookupByName(name).XMLDesc(0)), f"looking at {name}")


def _info(volume: libvirt.virStorageVol) -> VolumeInfo:
    _kind, capacity, allocation = volume.info()
    spec = volume_from_xml(volume.XMLDesc(0))
    return VolumeInfo(volume.name(), volume.path(), capacity, allocation, spec.format, spec.backing_path)


def resize_volume(link: HostLink, pool: str, name: str, capacity: int) -> None:
    """Grow a volume that no running domain uses.

    Raises:
        InvalidState: it is larger already.
    """

    def run(found: libvirt.virStoragePool) -> None:
        volume = found.storageVolLookupByName(name)
        if volume.info()[1] > capacity:
            raise InvalidState(f"{name} is larger than {capacity} bytes, and is not made smaller")
        volume.resize(capacity, 0)

    _on_pool(link, pool, run, f"resizing {name}")


def _on_pool(link: HostLink, name: str, fn: Callable[[libvirt.virStoragePool], T], what: str) -> T:
    if not name:
        raise NotFound("a pool has a name")

    def run(connection: libvirt.virConnect) -> T:
        return fn(connection.storagePoolLookupByName(name))

    return link.call(run, timeout=POOL_SECONDS, what=what)
