"""What a file is, by its first bytes alone. Nothing of QEMU opens an image before this has said that it names no other file.

QEMU's formats can point elsewhere: a qcow2 to a backing or a data file, a VMDK to its extents and parent, a VDI or VHDX to its
parent. Such an image would show whoever sent it any file that the host can read, so each of them is refused here, and the
format is told to qemu-img instead of being guessed again.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

LARGEST_DISK = 1 << 46  # as storage.services says
LARGEST_ISO = 16 << 30
SECTOR = 512
# Other formats of QEMU's, and what people send by mistake: what it is, in words.
_FOREIGN = (
    (b"QED\0", "a QED image"),
    (b"LUKS\xba\xbe", "an encrypted (LUKS) disk"),
    (b"COWD", "a VMDK of an old ESX server"),
    (b"conectix", "a VHD image; convert it to VHDX"),
    (b"WithoutFreeSpace", "a Parallels image"),
    (b"WithouFreSpacExt", "a Parallels image"),
    (b"Bochs Virtual HD Image", "a Bochs image"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
    (b"BZh", "compressed by bzip2; unpack it"),
    (b"\xfd7zXZ\0", "compressed by xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it"),
    (b"PK\x03\x04", "a ZIP archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (b"json:", "text, and no image"),
)


class BadImage(Exception):
    """The file is no image, or one that is not taken; the text is a sentence for who sent it."""


@dataclass(frozen=True)
class Probe:
    """What a file is.

    Args:
        format: iso, raw, qcow2, vmdk, vdi, vhdx or ova.
        virtual_bytes: how large the disk is that a guest sees; of an OVA, the file.
        plain: it can go to the storage as it is; otherwise it is converted, were it to the same format.
    """

    format: str
    virtual_bytes: int
    plain: bool = False


def probe(path: Path) -> Probe:
    """What the file is. Reads at most a few hundred kilobytes, whatever its size.

    Raises:
        BadImage
    """
    with path.open("rb") as file:
        return probe_part(file, 0, path.stat().st_size)


def probe_part(file: BinaryIO, start: int, size: int) -> Probe:
    """The same of a part of a file: a member of an archive. Raises BadImage."""
    try:
        found = _probe(_Part(file, start, size), size)
    except struct.error:
        raise BadImage("The image ends before its header does.") from None
    if found.format != "ova" and not SECTOR <= found.virtual_bytes <= LARGEST_DISK:
        raise BadImage("The image says that its disk is smaller than a sector, or larger than 64 TiB.")
    return found


@dataclass(frozen=True)
class _Part:
    """What is read of a file, counted from where the part begins, and never beyond its end."""

    file: BinaryIO
    start: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        self.file.seek(self.start + offset)
        return self.file.read(max(0, min(length, self.size - offset)))


def _probe(file: _Part, size: int) -> Probe:
    head = _at(file, 0, 4096)
    if not head:
        raise BadImage("The file is empty.")
    if head.startswith(b"QFI\xfb"):
        return _qcow2(file)
    if head.startswith(b"KDMV"):
        return _vmdk(file, size)
    if head.startswith(b"# Disk DescriptorFile"):
        raise BadImage("This VMDK is a descriptor that names other files. Export the disk as one file (monolithic or stream-optimized).")
    if head[0x40:0x44] == b"\x7f\x10\xda\xbe":
        return _vdi(head)
    if head.startswith(b"vhdxfile"):
        return _vhdx(file, size)
    for magic, words in _FOREIGN:
        if head.startswith(magic):
            raise BadImage(f"The file is {words}.")
    if head[257:262] == b"ustar":
        return Probe("ova", size)
    if _at(file, 16 * 2048 + 1, 5) == b"CD001":
        if size > LARGEST_ISO:
            raise BadImage(f"An ISO image may have at most {LARGEST_ISO >> 30} GiB.")
        return Probe("iso", size, plain=True)
    if size % SECTOR:
        raise BadImage("The file is no image that is known here, nor a raw disk: a disk has whole sectors of 512 bytes.")
    return Probe("raw", size, plain=True)


def _at(file: _Part, offset: int, length: int) -> bytes:
    if not 0 <= offset < 1 << 63:
        raise BadImage("The image's header points outside of it.")
    return file.read(offset, length)


# Incompatible features of qcow2 that change nothing about which files are opened: dirty, compression type, extended L2 entries.
_DIRTY, _CORRUPT, _DATA_FILE, _KNOWN = 1, 2, 4, 0b11101
_EXT_END, _EXT_DATA_FILE, _EXT_CRYPT = 0, 0x44415441, 0x0537BE77
_MOST_L1 = 32 << 20  # bytes, as QEMU has it


def _qcow2(file: _Part) -> Probe:
    head = _at(file, 0, 104)
    version, backing, _backing_size, bits, virtual, crypt, l1_size = struct.unpack(">4xIQIIQII", head[:40])
    snapshots = struct.unpack(">I", head[60:64])[0]
    if version not in (2, 3):
        raise BadImage(f"The file is a qcow image of version {version}; versions 2 and 3 are taken.")
    features, length = (struct.unpack(">Q", head[72:80])[0], struct.unpack(">I", head[100:104])[0]) if version == 3 else (0, 72)
    if backing:
        raise BadImage("This qcow2 builds on a backing file. Flatten it first: qemu-img convert -O qcow2 IMAGE FLAT.")
    if crypt:
        raise BadImage("This qcow2 is encrypted.")
    if features & _DATA_FILE:
        raise BadImage("This qcow2 keeps its data in an external data file.")
    if features & _CORRUPT:
        raise BadImage("This qcow2 is marked as corrupt.")
    if features & ~_KNOWN:
        raise BadImage("This qcow2 uses features that are not known here.")
    if not 9 <= bits <= 21 or l1_size * 8 > _MOST_L1 or length > 1 << bits:
        raise BadImage("This qcow2's header makes no sense.")
    _qcow2_extensions(file, length, 1 << bits)
    return Probe("qcow2", virtual, plain=not snapshots and not features & _DIRTY)


def _qcow2_extensions(file: _Part, offset: int, end: int) -> None:
    for _ in range(64):
        if offset + 8 > end:
            return
        kind, length = struct.unpack(">II", _at(file, offset, 8))
        if kind == _EXT_END:
            return
        if kind == _EXT_DATA_FILE:
            raise BadImage("This qcow2 names an external data file.")
        if kind == _EXT_CRYPT:
            raise BadImage("This qcow2 is encrypted.")
        if length > end:
            break
        offset += 8 + (length + 7) // 8 * 8
    raise BadImage("This qcow2's header makes no sense.")


_EXTENT = re.compile(r"^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)", re.MULTILINE)
_ONE_FILE = ("monolithicsparse", "streamoptimized")


def _vmdk(file: _Part, size: int) -> Probe:
    capacity, _grain, at, sectors = struct.unpack("<12x4Q", _at(file, 0, 44))
    if capacity == 0:  # QEMU then opens the files that the descriptor names
        raise BadImage("This VMDK names other files. Export the disk as one file (monolithic or stream-optimized).")
    if at:
        if sectors > 2048 or at * SECTOR >= size:
            raise BadImage("This VMDK's header makes no sense.")
        text = _at(file, at * SECTOR, sectors * SECTOR).rstrip(b"\0").decode("utf-8", "replace")
        _check_vmdk_descriptor(text)
    return Probe("vmdk", capacity * SECTOR)


def _check_vmdk_descriptor(text: str) -> None:
    kind = re.search(r'^\s*createType\s*=\s*"([^"]*)"', text, re.MULTILINE)
    if kind is None or kind[1].lower() not in _ONE_FILE:
        raise BadImage("This VMDK is not in one file. Export it as monolithic or stream-optimized.")
    parent = re.search(r"^\s*parentCID\s*=\s*(\w+)", text, re.MULTILINE)
    if (parent and parent[1].lower() != "ffffffff") or re.search(r"^\s*parentFileNameHint", text, re.MULTILINE | re.IGNORECASE):
        raise BadImage("This VMDK is a snapshot that builds on another file.")
    if [extent.upper() for extent in _EXTENT.findall(text)] != ["SPARSE"]:
        raise BadImage("This VMDK names other files as its extents.")


def _vdi(head: bytes) -> Probe:
    version, kind = struct.unpack("<I4xI", head[0x44:0x50])
    (virtual,) = struct.unpack("<Q", head[0x170:0x178])
    if version != 0x00010001:
        raise BadImage("This VDI is of a version that is not known here.")
    if kind not in (1, 2) or any(head[0x1A8:0x1C8]):
        raise BadImage("This VDI is a snapshot that builds on another file.")
    return Probe("vdi", virtual)


_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_VIRTUAL_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_PARENT = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le


def _vhdx(file: _Part, size: int) -> Probe:
    regions = _vhdx_table(_at(file, 192 << 10, 64 << 10), b"regi", "<4s4xI", 16, "<QI")
    at, _length = regions.get(_METADATA, (0, 0))
    if not 0 < at < size:
        raise BadImage("This VHDX has no metadata.")
    entries = _vhdx_table(_at(file, at, 64 << 10), b"metadata", "<8s2xH", 32, "<II")
    if _PARENT in entries:
        raise BadImage("This VHDX is a snapshot that builds on another file.")
    if _PARAMETERS not in entries or _VIRTUAL_SIZE not in entries:
        raise BadImage("This VHDX has no size.")
    _block, flags = struct.unpack("<II", _at(file, at + entries[_PARAMETERS][0], 8))
    if flags & 2:
        raise BadImage("This VHDX is a snapshot that builds on another file.")
    return Probe("vhdx", struct.unpack("<Q", _at(file, at + entries[_VIRTUAL_SIZE][0], 8))[0])


def _vhdx_table(table: bytes, signature: bytes, head: str, first: int, entry: str) -> dict[bytes, tuple[int, int]]:
    """GUID -> (offset, length) of a region or metadata table; entries have 32 bytes, and begin with the GUID."""
    found, count = struct.unpack_from(head, table)
    if found != signature or count > 2047:
        raise BadImage("This VHDX's header makes no sense.")
    entries = (table[first + 32 * number : first + 32 * (number + 1)] for number in range(count))
    return {part[:16]: struct.unpack_from(entry, part, 16) for part in entries}
