"""What an OVF description says of a machine: VMware's and VirtualBox's, versions 1 and 2, by local names alone."""

import re
from dataclasses import dataclass, field

from lxml import etree

from portal.names import plain
from storage.images.probe import BadImage

LARGEST = 4 << 20
MOST_DISKS, MOST_NICS = 20, 8
_CPU, _MEMORY, _NIC, _DISK = "3", "4", "10", "17"
_POWER = re.compile(r"byte\s*\*\s*(\d+)\s*\^\s*(\d+)")
_UNITS = {
    "": 1,
    "byte": 1,
    "bytes": 1,
    "kilobytes": 1 << 10,
    "kb": 1 << 10,
    "megabytes": 1 << 20,
    "mb": 1 << 20,
    "gigabytes": 1 << 30,
    "gb": 1 << 30,
}


@dataclass(frozen=True)
class OvfDisk:
    """Args: file: the member that holds it; "" for one that is empty. capacity_bytes: as the description says; 0 when it does not."""

    file: str
    capacity_bytes: int


@dataclass(frozen=True)
class Machine:
    """What is taken over. Args: nics: the names of the networks that they had. notes: what is not, in sentences."""

    name: str
    vcpus: int
    memory_mib: int
    firmware: str
    os: str
    disks: tuple[OvfDisk, ...]
    nics: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def parse(data: bytes) -> Machine:
    """Raises BadImage: it is no OVF, describes several machines, or has a document type, by which entities come."""
    if len(data) > LARGEST:
        raise BadImage("The description of the machine is too long.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise BadImage("The description of the machine is no XML.") from None
    if root.getroottree().docinfo.internalDTD is not None or b"<!DOCTYPE" in data:
        raise BadImage("The description of the machine defines entities, which no OVF does.")
    if _name(root) != "Envelope":
        raise BadImage("The description of the machine is no OVF.")
    systems = [element for element in root.iter() if _name(element) == "VirtualSystem"]
    if len(systems) != 1:
        raise BadImage(f"The OVA holds {len(systems)} machines; one is taken.")
    return _machine(root, systems[0])


def _machine(root: etree._Element, system: etree._Element) -> Machine:
    items = [
        {_name(child): (child.text or "").strip() for child in item}
        for item in system.iter()
        if _name(item) in ("Item", "StorageItem", "EthernetPortItem")
    ]
    of_type = {kind: [item for item in items if item.get("ResourceType") == kind] for kind in (_CPU, _MEMORY, _NIC, _DISK)}
    disks = _disks(root, of_type[_DISK])
    nics = tuple(plain(item.get("Connection", ""))[:100] for item in of_type[_NIC])
    if len(disks) > MOST_DISKS:
        raise BadImage(f"The machine has more than {MOST_DISKS} disks.")
    notes = (f"Only the first {MOST_NICS} of its {len(nics)} NICs are made.",) if len(nics) > MOST_NICS else ()
    memory = [_number(item.get("VirtualQuantity", "")) * _unit(item.get("AllocationUnits", "byte * 2^20")) for item in of_type[_MEMORY]]
    return Machine(
        name=_title(system),
        vcpus=max([1, *(_number(item.get("VirtualQuantity", "")) for item in of_type[_CPU])]),
        memory_mib=max([16, *(amount >> 20 for amount in memory)]),
        firmware=_firmware(system),
        os=_os(system),
        disks=disks,
        nics=nics[:MOST_NICS],
        notes=notes,
    )


def _title(system: etree._Element) -> str:
    named = next((child.text for child in system if _name(child) == "Name" and child.text), None)
    return plain(named or _attribute(system, "id"))[:200] or "imported"


def _disks(root: etree._Element, items: list[dict[str, str]]) -> tuple[OvfDisk, ...]:
    """In the order in which the machine has them."""
    files = {_attribute(element, "id"): element for element in root.iter() if _name(element) == "File"}
    known = {
        _attribute(element, "diskId"): element for element in root.iter() if _name(element) == "Disk" and _attribute(element, "diskId")
    }
    found = []
    for item in sorted(items, key=lambda item: (item.get("Parent", ""), _number(item.get("AddressOnParent", "0")))):
        resource = item.get("HostResource", "")
        kind, _, key = resource.removeprefix("ovf:").strip("/").partition("/")
        if kind == "disk" and key in known:
            found.append(_disk(known[key], files))
        else:
            raise BadImage("A disk of the machine is described nowhere.")
    return tuple(found)


def _disk(element: etree._Element, files: dict[str, etree._Element]) -> OvfDisk:
    if _attribute(element, "parentRef"):
        raise BadImage("A disk of the machine builds on another. Export the machine without its snapshots.")
    capacity = _number(_attribute(element, "capacity")) * _unit(_attribute(element, "capacityAllocationUnits"))
    reference = _attribute(element, "fileRef")
    if not reference:
        return OvfDisk("", capacity)
    if reference not in files:
        raise BadImage("A disk of the machine has no file.")
    if _attribute(files[reference], "compression") not in ("", "identity") or _attribute(files[reference], "chunkSize"):
        raise BadImage("A disk of the machine is compressed or cut in pieces as a file. Export it as one plain OVA.")
    return OvfDisk(_attribute(files[reference], "href"), capacity)


def _firmware(system: etree._Element) -> str:
    """bios, efi or efi-secure: VMware says it in its configuration, VirtualBox in its own section."""
    told = {
        _attribute(element, "key"): _attribute(element, "value").lower()
        for element in system.iter()
        if _name(element) in ("Config", "ExtraConfig")
    }
    boxes = [_attribute(element, "type").lower() for element in system.iter() if _name(element) == "Firmware"]
    if told.get("firmware") == "efi" or any(kind.startswith("efi") for kind in boxes):
        return "efi-secure" if told.get("uefi.secureBoot.enabled") == "true" else "efi"
    return "bios"


def _os(system: etree._Element) -> str:
    """Windows or Linux, of all that the two call them."""
    section = next((element for element in system.iter() if _name(element) == "OperatingSystemSection"), None)
    if section is None:
        return "linux"
    words = " ".join([_attribute(section, "osType"), *(text for text in section.itertext())]).lower()
    return "windows" if "windows" in words or re.search(r"\bwin(?:net|xp|dows|\d)", words) else "linux"


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _attribute(element: etree._Element, name: str) -> str:
    """Of whatever namespace: the two disagree about them."""
    return next((str(value) for key, value in element.attrib.items() if etree.QName(key).localname == name), "")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def _unit(text: str) -> int:
    """«byte * 2^20», «MegaBytes», or nothing."""
    found = _POWER.fullmatch(text.strip().lower())
    if found and found[1] in ("2", "10") and int(found[2]) <= 50:
        return int(found[1]) ** int(found[2])
    return _UNITS.get(text.strip().lower(), 1)
