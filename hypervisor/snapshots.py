"""Layers of a domain's disks: freezing them, saving memory beside them, merging them, going back to saved memory.

libvirt 9.0 cannot return to an external snapshot, so what belongs to which is the caller's to know, and libvirt keeps no metadata of it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

import libvirt
from lxml import etree

from .domain_devices import set_source
from .errors import HostUnreachable, HypervisorError, InvalidState, NotFound, OperationFailed
from .guests import on_domain
from .links import HostLink
from .storage import TRANSFER_SECONDS, Progress
from .volume_xml import volume_from_xml
from .xmltools import add, parse, render

T = TypeVar("T")
Chain = tuple[str, ...]

POLL_SECONDS = 0.2
SWITCH_SECONDS = 120.0  # a guest that freezes its file systems writes first what it holds
UNPLUG_SECONDS = 10.0
LONGEST_CHAIN = 300
_COMMITS = (libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT, libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT)


@dataclass(frozen=True)
class BlockJob:
    """A block job of a disk: bytes done and in all, as QEMU counts them."""

    is_commit: bool
    done: int
    total: int

    @property
    def is_ready(self) -> bool:
        """All is copied; an active commit waits for its pivot in this state."""
        return 0 < self.total <= self.done


def chains_in(xml: str) -> dict[str, Chain]:
    """The files of each disk of a domain's XML, the active one first; of a definition mostly that one alone.

    Raises:
        BadXml
    """
    return {
        target.get("dev", ""): tuple(_files(disk))
        for disk in parse(xml, "domain").findall("devices/disk")
        if disk.get("device", "disk") == "disk" and (target := disk.find("target")) is not None
    }


def _files(disk: etree._Element) -> list[str]:
    found: list[str] = []
    layer: etree._Element | None = disk
    while layer is not None and len(found) < LONGEST_CHAIN:
        source = layer.find("source")
        if source is None:
            break
        found.append(source.get("file") or source.get("dev") or f"{source.get('protocol', 'network')}:{source.get('name', '')}")
        layer = layer.find("backingStore")
    return found


def chains(link: HostLink, uuid: str) -> dict[str, Chain]:
    """What a running domain reads from, as QEMU has it open; of one that is down what its definition says.

    Raises:
        NotFound
    """
    return on_domain(link, uuid, lambda domain: chains_in(domain.XMLDesc(0)), "reading its disks")


def backing_of(link: HostLink, path: str) -> str:
    """The file that a volume builds on, "" for none; as of the pool's last refresh.

    Raises:
        NotFound: there is no such volume.
    """

    def run(connection: libvirt.virConnect) -> str:
        return volume_from_xml(connection.storageVolLookupByPath(path).XMLDesc(0)).backing_path

    return link.call(run, what=f"reading {path}")


def _snapshot_xml(xml: str, overlays: Mapping[str, str], memory_path: str) -> str:
    root = etree.Element("domainsnapshot")
    add(root, "memory", snapshot="external" if memory_path else "no", file=memory_path or None)
    disks = add(root, "disks")
    for disk in parse(xml, "domain").findall("devices/disk"):
        target = disk.find("target")
        name = target.get("dev", "") if target is not None else ""
        if name in overlays:
            element = add(disks, "disk", name=name, snapshot="external", type="file")
            add(element, "driver", type="qcow2")
            add(element, "source", file=overlays[name])
        elif name:
            add(disks, "disk", name=name, snapshot="no")
    return render(root)


def take(
    link: HostLink,
    uuid: str,
    overlays: Mapping[str, str],
    *,
    memory_path: str = "",
    quiesce: bool = False,
    progress: Progress | None = None,
) -> None:
    """A running domain writes into other files from now on; those it wrote to stay as they are. All of its disks at once, or none.

    Args:
        overlays: for each disk the path of an empty qcow2 volume that has its present file as backing.
        memory_path: saves the memory of the same moment into this new file; the guest stands still meanwhile.
        quiesce: the guest's agent freezes its file systems for the moment. Not with memory.
        progress: called with (bytes saved, bytes of memory); raise in it to cancel.

    Raises:
        InvalidState: it does not run.
        AgentUnresponsive: `quiesce`, and no agent answers.
    """
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
    flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    if not memory_path:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    if quiesce:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE

    def run(connection: libvirt.virConnect) -> None:
        domain = connection.lookupByUUIDString(uuid)
        if not domain.isActive():
            raise InvalidState(f"{domain.name()} does not run")
        with _without_clipboard(domain) if memory_path else nullcontext():
            domain.snapshotCreateXML(_snapshot_xml(domain.XMLDesc(0), overlays, memory_path), flags)

    if not memory_path:
        link.call(run, timeout=SWITCH_SECONDS, what="freezing its disks")
        return
    _with_progress(link, uuid, run, "saving its memory", progress)


@contextmanager
def _without_clipboard(domain: libvirt.virDomain) -> Iterator[None]:
    """QEMU (seen with 7.2) saves no memory while the channel of the clipboard is plugged in: it is taken out for that long."""
    channels = [render(each) for each in _clipboards(domain)]
    for channel in channels:
        domain.detachDeviceFlags(channel, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    deadline = time.monotonic() + UNPLUG_SECONDS
    while channels and _clipboards(domain) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        _plug_in(domain, channels)


def _clipboards(domain: libvirt.virDomain) -> list[etree._Element]:
    return parse(domain.XMLDesc(0), "domain").findall("devices/channel[@type='qemu-vdagent']")


def _plug_in(domain: libvirt.virDomain, channels: Sequence[str]) -> None:
    """Without its clipboard a guest runs as well: what cannot be plugged in comes back at its next start."""
    for channel in channels:
        with suppress(libvirt.libvirtError):
            domain.attachDeviceFlags(channel, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def restore(link: HostLink, memory_path: str, uuid: str, files: Mapping[str, str], progress: Progress | None = None) -> None:
    """A defined domain that is down goes on from saved memory, with these qcow2 files as its disks.

    Raises:
        InvalidState: it runs already.
        NotFound, OperationFailed: the memory cannot be read, or does not fit the machine.
    """

    def run(connection: libvirt.virConnect) -> None:
        if connection.lookupByUUIDString(uuid).isActive():
            raise InvalidState("it runs already")
        xml = connection.saveImageGetXMLDesc(memory_path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
        connection.restoreFlags(memory_path, with_files(xml, files), libvirt.VIR_DOMAIN_SAVE_RUNNING)
        domain = connection.lookupByUUIDString(uuid)
        inactive = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), "domain")
        _plug_in(domain, [render(each) for each in inactive.findall("devices/channel[@type='qemu-vdagent']")])

    _with_progress(link, uuid, run, "restoring its memory", progress)


def with_files(xml: str, files: Mapping[str, str]) -> str:
    """The same machine, its disks on other qcow2 files."""
    root = parse(xml, "domain")
    for disk in root.findall("devices/disk"):
        target = disk.find("target")
        path = files.get(target.get("dev", "")) if target is not None else None
        if path is None:
            continue
        for old in disk.findall("backingStore"):
            disk.remove(old)
        set_source(disk, path)
        driver = disk.find("driver")
        if driver is not None:
            driver.set("type", "qcow2")
    return render(root)


def _with_progress(link: HostLink, uuid: str, run: Callable[[libvirt.virConnect], T], what: str, progress: Progress | None) -> T:
    """A long call on a connection of its own; what `progress` raises ends it on the host, too."""
    ended: Future[T] = Future()

    def in_background() -> None:
        try:
            ended.set_result(link.call_apart(run, timeout=TRANSFER_SECONDS, what=what))
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            ended.set_exception(error)

    threading.Thread(target=in_background, name=what.replace(" ", "-"), daemon=True).start()
    try:
        while not wait([ended], POLL_SECONDS).done:
            if progress:
                progress(*_job_figures(link, uuid))
    except BaseException:
        with suppress(HypervisorError):
            on_domain(link, uuid, lambda domain: domain.abortJob(), "stopping what it does")
        wait([ended], SWITCH_SECONDS)
        raise
    return ended.result()


def _job_figures(link: HostLink, uuid: str) -> tuple[int, int]:
    try:
        figures = on_domain(link, uuid, lambda domain: domain.jobStats(), "reading its progress")
    except HostUnreachable:
        raise
    except HypervisorError:
        return 0, 0
    return int(figures.get("data_processed", 0)), int(figures.get("data_total", 0))


def block_job(link: HostLink, uuid: str, target: str) -> BlockJob | None:
    """The block job that works on a disk now."""

    def run(domain: libvirt.virDomain) -> BlockJob | None:
        found = domain.blockJobInfo(target, 0)
        return BlockJob(found["type"] in _COMMITS, found["cur"], found["end"]) if found else None

    return on_domain(link, uuid, run, f"asking what works on {target}")


def merge(link: HostLink, uuid: str, target: str, base: str, top: str, progress: Progress | None = None) -> None:
    """Writes `top` into the file right below it while the domain has both open; `top` itself is then no longer read, and left to the caller.

    Goes on with a merge that an earlier call began. One that is done already is fine.

    Args:
        progress: called with (bytes done, bytes in all); raise in it to cancel: the chain is then as it was.

    Raises:
        OperationFailed: it ended early, for want of space perhaps; the chain is as it was.
    """
    if not _is_open(link, uuid, target, base, top):
        return
    if block_job(link, uuid, target) is None:
        active = chains(link, uuid)[target][0] == top
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE if active else 0
        on_domain(link, uuid, lambda domain: domain.blockCommit(target, base, top, 0, flags), f"merging {target}", SWITCH_SECONDS)
    try:
        while (job := block_job(link, uuid, target)) is not None:
            if progress:
                progress(job.done, job.total)
            if job.is_ready and _pivot(link, uuid, target):
                break
            time.sleep(POLL_SECONDS)
    except HostUnreachable:
        raise  # it goes on there; the next try finds it
    except BaseException:
        abort(link, uuid, target)
        raise
    if _is_open(link, uuid, target, base, top):
        raise OperationFailed(f"Merging into {base} ended early: there may be no space left, or the storage failed. Nothing was changed.")


def _is_open(link: HostLink, uuid: str, target: str, base: str, top: str) -> bool:
    """False when `top` was merged already. Raises NotFound when `base` is not open either."""
    found = chains(link, uuid).get(target, ())
    if base not in found:
        raise NotFound(f"{target} does not read from {base}")
    return top in found


def _pivot(link: HostLink, uuid: str, target: str) -> bool:
    """Ends an active commit: the domain goes on in the lower file. False while it is not ready, or when there is nothing to end."""

    def run(domain: libvirt.virDomain) -> bool:
        disk = next(
            (
                each
                for each in parse(domain.XMLDesc(0), "domain").findall("devices/disk")
                if each.find(f"target[@dev='{target}']") is not None
            ),
            None,
        )
        mirror = disk.find("mirror") if disk is not None else None
        if mirror is None or mirror.get("ready") != "yes":
            return False
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
        return True

    return on_domain(link, uuid, run, f"switching {target} over", SWITCH_SECONDS)


def abort(link: HostLink, uuid: str, target: str) -> None:
    """Stops what works on a disk; nothing to stop is fine. The chain is as it was before."""

    def run(domain: libvirt.virDomain) -> None:
        if domain.blockJobInfo(target, 0):
            domain.blockJobAbort(target, 0)

    with suppress(InvalidState, NotFound):
        on_domain(link, uuid, run, f"stopping what works on {target}", SWITCH_SECONDS)
