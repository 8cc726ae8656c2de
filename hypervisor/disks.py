"""What is done to the disks of a running domain: plug, unplug, grow, limit, and copy while the guest writes.

Each verb that takes a `target` means the guest's slot, "vda". A change to the running domain alone says so: who keeps the
definition defines it.
"""

from dataclasses import dataclass

import libvirt
from lxml import etree

from .domain_devices import disk_xml
from .errors import InvalidState, NotFound
from .guests import CHANGE_SECONDS, on_domain
from .links import HostLink
from .spec import DiskSpec
from .xmltools import add, attribute, number, parse, render

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


@dataclass(frozen=True)
class Mirror:
    """A copy of a disk that the hypervisor makes while the guest writes.

    Args:
        path: where the copy lies.
        ready: all is copied, and what the guest writes goes to both.
    """

    path: str
    ready: bool
    done: int
    total: int


def source_of(link: HostLink, uuid: str, target: str) -> str | None:
    """The file behind the slot in the domain as it runs (as it is defined when it does not run), None when the slot is free.

    Raises:
        NotFound: no such domain.
    """

    def read(domain: libvirt.virDomain) -> str | None:
        element = _disk_in(domain.XMLDesc(), target)
        return None if element is None else attribute(element, "source", "file") or attribute(element, "source", "dev")

    return on_domain(link, uuid, read, "reading its disks")


def plug(link: HostLink, uuid: str, disk: DiskSpec) -> None:
    """Plug a disk into a running domain, with a virtio-scsi controller when it is the first on that bus.

    Raises:
        OperationFailed: no free slot, or the file is in use.
    """

    def run(domain: libvirt.virDomain) -> None:
        if disk.bus == "scsi" and parse(domain.XMLDesc(), "domain").find("devices/controller[@type='scsi']") is None:
            domain.attachDeviceFlags(_scsi_controller(), _LIVE)  # libvirt would choose one that few guests know
        domain.attachDeviceFlags(disk_xml(disk), _LIVE)

    on_domain(link, uuid, run, "plugging a disk in", CHANGE_SECONDS)


def unplug(link: HostLink, uuid: str, disk: DiskSpec) -> None:
    """Ask the guest of a running domain to let go of a disk. It is gone when `source_of` says so.

    Asking again while the guest still thinks about it is fine, and so is a slot that is free.
    """

    def run(domain: libvirt.virDomain) -> None:
        if _disk_in(domain.XMLDesc(), disk.target) is None:
            return
        try:
            domain.detachDeviceFlags(disk_xml(disk), _LIVE)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_DEVICE_MISSING or "in the process of unplug" in str(error):
                return
            raise

    on_domain(link, uuid, run, "pulling a disk out", CHANGE_SECONDS)


def grow(link: HostLink, uuid: str, target: str, capacity: int) -> None:
    """Make the disk of a running domain `capacity` bytes large; the guest sees it at once.

    Raises:
        InvalidState: it is larger already.
    """

    def run(domain: libvirt.virDomain) -> None:
        if domain.blockInfo(target)[0] > capacity:
            raise InvalidState(f"{target} is larger than {capacity} bytes, and is not made smaller")
        domain.blockResize(target, capacity, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    on_domain(link, uuid, run, "growing a disk", CHANGE_SECONDS)


def limit(link: HostLink, uuid: str, target: str, iops: int, bytes_per_second: int) -> None:
    """Limit what the disk of a running domain may do in a second; 0 takes a limit off."""
    limits = {"total_iops_sec": iops, "total_bytes_sec": bytes_per_second}
    on_domain(link, uuid, lambda domain: domain.setBlockIoTune(target, limits, _LIVE), "limiting a disk", CHANGE_SECONDS)


def limits_of(link: HostLink, uuid: str, target: str) -> tuple[int, int]:
    """Operations and bytes in a second that the disk of a running domain may do; 0 is unlimited."""

    def read(domain: libvirt.virDomain) -> tuple[int, int]:
        found = domain.blockIoTune(target, _LIVE)
        return found["total_iops_sec"], found["total_bytes_sec"]

    return on_domain(link, uuid, read, "reading a disk's limits")


def start_mirror(link: HostLink, uuid: str, target: str, path: str, format: str) -> None:
    """Begin to copy a disk of a running domain, backing files included, into a volume that is there and empty.

    Raises:
        InvalidState: another block job runs on the disk.
    """
    copy = etree.Element("disk", type="file")
    add(copy, "driver", name="qemu", type=format)
    add(copy, "source", file=path)
    # libvirt copies on a persistent domain only when told that the copy does not outlive the process.
    flags = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    on_domain(link, uuid, lambda domain: domain.blockCopy(target, render(copy), None, flags), "copying a disk", CHANGE_SECONDS)


def mirror_of(link: HostLink, uuid: str, target: str) -> Mirror | None:
    """The copy that is being made of a disk, None when there is none.

    Raises:
        NotFound: no such domain, or it has no such disk.
    """

    def read(domain: libvirt.virDomain) -> Mirror | None:
        element = _disk_in(domain.XMLDesc(), target)
        if element is None:
            raise NotFound(f"{domain.name()} has no disk {target}")
        mirror = element.find("mirror")
        if mirror is None:
            return None
        job = domain.blockJobInfo(target, 0) or {}
        path = mirror.get("file") or attribute(mirror, "source", "file") or attribute(mirror, "source", "dev")
        return Mirror(path, mirror.get("ready") == "yes", number(str(job.get("cur", 0))), number(str(job.get("end", 0))))

    return on_domain(link, uuid, read, "reading the copy's progress")


def end_mirror(link: HostLink, uuid: str, target: str, *, pivot: bool) -> None:
    """End the copy: with `pivot` the domain goes on with the copy, otherwise it stays where it is.

    Raises:
        InvalidState, OperationFailed: with `pivot`, it is not ready.
    """
    flags = libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT if pivot else 0
    on_domain(link, uuid, lambda domain: domain.blockJobAbort(target, flags), "ending the copy", CHANGE_SECONDS)


def _disk_in(xml: str, target: str) -> etree._Element | None:
    disks = parse(xml, "domain").findall("devices/disk")
    return next((each for each in disks if attribute(each, "target", "dev") == target), None)


def _scsi_controller() -> str:
    return render(etree.Element("controller", type="scsi", index="0", model="virtio-scsi"))
