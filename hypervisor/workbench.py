"""A helper domain in which the disks of a VM that is down are worked on: paused before its first instruction, transient, one disk.

libvirt merges layers only of disks that a domain has open. The workbench ends with the connection that made it
(VIR_DOMAIN_START_AUTODESTROY), so a worker that is killed leaves none behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid5

import libvirt
from lxml import etree

from . import domains
from .domain_devices import add_disk
from .errors import HostUnreachable, InvalidState, NotFound
from .links import HostLink
from .spec import DiskSpec
from .xmltools import add, render

NAME_PREFIX = "vireo-workbench-"
TARGET = "vda"
MEMORY_MIB = 16


def is_workbench(name: str) -> bool:
    """Whether a domain of this name is one of these, and so nobody's VM."""
    return name.startswith(NAME_PREFIX)


def uuid_of(vm_id: str) -> str:
    """The id of a VM's workbench, always the same: two at once are impossible."""
    return str(uuid5(UUID(vm_id), "workbench"))


def to_xml(vm_id: str, path: str, virt_type: str = "qemu") -> str:
    """The helper domain's XML, with one qcow2 disk."""
    root = etree.Element("domain", type=virt_type)
    add(root, "name", f"{NAME_PREFIX}{vm_id}")
    add(root, "uuid", uuid_of(vm_id))
    add(root, "title", "Vireo merges disk layers of a VM that is down")
    add(root, "memory", MEMORY_MIB, unit="MiB")
    add(root, "vcpu", 1)
    add(add(root, "os"), "type", "hvm", arch="x86_64", machine="q35")
    devices = add(root, "devices")
    add_disk(devices, DiskSpec(source=path, target=TARGET))
    add(devices, "controller", type="usb", model="none")
    add(devices, "memballoon", model="none")
    return render(root)


@contextmanager
def workbench(link: HostLink, vm_id: str, path: str, virt_type: str = "qemu", runs: bool = False) -> Iterator[str]:
    """The id of a helper domain with this file open for writing; it is gone at the end of the block.

    Never for a file that a running domain has open: QEMU's own locks refuse that, too.

    Args:
        runs: not paused: only then does libvirt's lock manager take the leases of its disk.
    """
    end(link, vm_id)
    session = link.open_apart()
    try:
        flags = libvirt.VIR_DOMAIN_START_AUTODESTROY | (0 if runs else libvirt.VIR_DOMAIN_START_PAUSED)
        xml = to_xml(vm_id, path, virt_type)
        session.run(
            lambda connection: connection.createXML(xml, flags).UUIDString(), domains.START_SECONDS, "opening the disk on a workbench"
        )
        yield uuid_of(vm_id)
    finally:
        try:
            end(link, vm_id)
        finally:
            session.retire(HostUnreachable("the workbench was closed"))


def end(link: HostLink, vm_id: str) -> None:
    """Ends the VM's workbench, if there is one."""
    try:
        domains.destroy(link, uuid_of(vm_id))
    except (NotFound, InvalidState):
        return
