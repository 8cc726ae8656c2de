"""An OVA as VMware and VirtualBox read it: description, manifest, disks."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lxml import etree

from portal.names import plain
from storage.models import Disk
from vms.models import VM, Firmware

_OVF = "http://schemas.dmtf.org/ovf/envelope/1"
_RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
_VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
_VMW = "http://www.vmware.com/schema/ovf"
_NAMES = {None: _OVF, "ovf": _OVF, "rasd": _RASD, "vssd": _VSSD, "vmw": _VMW}
_STREAM_OPTIMIZED = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_LINUX, _WINDOWS = "101", "103"  # CIM's «Linux 64-bit» and «Windows Server 2008 R2», the newest that every reader knows

Files = list[tuple[Disk, Path]]


def write(target: Path, vm: VM, files: Files, progress: Callable[[int, int], None]) -> None:
    """The archive, in the order that the standard wants: description, manifest, disks."""
    total = 2 * sum(path.stat().st_size for _disk, path in files) or 1
    done = 0

    def read(file: BinaryIO) -> Callable[[int], bytes]:
        def some(length: int) -> bytes:
            nonlocal done
            piece = file.read(length)
            done += len(piece)
            progress(done, total)
            return piece

        return some

    names = [f"disk{number}.vmdk" for number in range(1, len(files) + 1)]
    text = describe(vm, [(disk, name, path.stat().st_size) for (disk, path), name in zip(files, names, strict=True)])
    digests = [("machine.ovf", hashlib.sha256(text).hexdigest())]
    for name, (_disk, path) in zip(names, files, strict=True):
        with path.open("rb") as file:
            digest, some = hashlib.sha256(), read(file)
            while piece := some(1 << 20):
                digest.update(piece)
            digests.append((name, digest.hexdigest()))
    manifest = "".join(f"SHA256({name})= {digest}\n" for name, digest in digests).encode()
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in (("machine.ovf", text), ("machine.mf", manifest)):
            _add(archive, name, len(data), io.BytesIO(data))
        for name, (_disk, path) in zip(names, files, strict=True):
            with path.open("rb") as file:
                _add(archive, name, path.stat().st_size, _Reader(read(file)))
    target.chmod(0o600)


class _Reader:
    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


def _add(archive: tarfile.TarFile, name: str, size: int, file: object) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    archive.addfile(info, file)  # type: ignore[arg-type]


def describe(vm: VM, files: list[tuple[Disk, str, int]]) -> bytes:
    """The OVF of a VM. Args: files: disk, file name, bytes."""
    root = etree.Element(f"{{{_OVF}}}Envelope", nsmap=_NAMES)
    references = _add_element(root, "References")
    section = _add_element(root, "DiskSection")
    _add_element(section, "Info", "Disks")
    for number, (disk, name, size) in enumerate(files, 1):
        _add_element(references, "File", id=f"file{number}", href=name, size=str(size))
        _add_element(
            section, "Disk", diskId=f"disk{number}", fileRef=f"file{number}", capacity=str(disk.capacity_bytes), format=_STREAM_OPTIMIZED
        )
    networks = sorted({nic.network.name for nic in vm.nics.select_related("network") if nic.network})
    section = _add_element(root, "NetworkSection")
    _add_element(section, "Info", "Networks")
    for network in networks or ["none"]:
        _add_element(_add_element(section, "Network", name=plain(network)), "Description", plain(network))
    system = _add_element(root, "VirtualSystem", id="machine")
    _add_element(system, "Info", "A virtual machine")
    _add_element(system, "Name", plain(vm.name))
    section = _add_element(system, "OperatingSystemSection", id=_WINDOWS if "win" in vm.os else _LINUX)
    _add_element(section, "Info", "The guest's system")
    _add_element(section, "Description", plain(vm.os))
    _hardware(_add_element(system, "VirtualHardwareSection"), vm, len(files))
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _hardware(section: etree._Element, vm: VM, disks: int) -> None:
    _add_element(section, "Info", "Hardware")
    kind = _add_element(section, "System")
    for name, text in (
        ("ElementName", "Hardware"),
        ("InstanceID", "0"),
        ("VirtualSystemIdentifier", plain(vm.name)),
        ("VirtualSystemType", "vmx-14"),
    ):
        etree.SubElement(kind, f"{{{_VSSD}}}{name}").text = text
    _item(section, 1, f"{vm.vcpus} CPUs", ResourceType="3", VirtualQuantity=str(vm.vcpus))
    _item(section, 2, f"{vm.memory_mib} MiB", AllocationUnits="byte * 2^20", ResourceType="4", VirtualQuantity=str(vm.memory_mib))
    _item(section, 3, "SATA controller", Address="0", ResourceSubType="AHCI", ResourceType="20")
    for number in range(disks):
        _item(
            section,
            10 + number,
            f"Disk {number + 1}",
            AddressOnParent=str(number),
            HostResource=f"ovf:/disk/disk{number + 1}",
            Parent="3",
            ResourceType="17",
        )
    for number, nic in enumerate(vm.nics.select_related("network")):
        connection = plain(nic.network.name) if nic.network else "none"
        _item(section, 50 + number, nic.name, AutomaticAllocation="true", Connection=connection, ResourceSubType="E1000", ResourceType="10")
    if vm.firmware != Firmware.BIOS:
        _config(section, "firmware", "efi")
    if vm.firmware == Firmware.EFI_SECURE:
        _config(section, "uefi.secureBoot.enabled", "true")


def _config(section: etree._Element, key: str, value: str) -> None:
    names = {f"{{{_OVF}}}required": "false", f"{{{_VMW}}}key": key, f"{{{_VMW}}}value": value}
    etree.SubElement(section, f"{{{_VMW}}}Config", names)


def _item(section: etree._Element, number: int, title: str, **fields: str) -> None:
    item = _add_element(section, "Item")
    for name, text in sorted((fields | {"ElementName": title, "InstanceID": str(number)}).items()):
        etree.SubElement(item, f"{{{_RASD}}}{name}").text = text


def _add_element(parent: etree._Element, name: str, text: str = "", /, **attributes: str) -> etree._Element:
    element = etree.SubElement(parent, f"{{{_OVF}}}{name}", {f"{{{_OVF}}}{key}": value for key, value in attributes.items()})
    if text:
        element.text = text
    return element
