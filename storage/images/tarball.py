"""The members of an OVA's tar archive, read by ourselves: nothing is unpacked, so no name of it ever becomes a path.

`tarfile` reads extended headers of any size into memory, and follows what they say. Here a header is 512 bytes, an extended
one at most 64 KiB, a member is a plain file within the archive, and whatever is otherwise is refused.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.images.probe import BadImage

BLOCK = 512
MOST_MEMBERS = 64
_EXTENDED_BYTES = 64 * 1024
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


@dataclass(frozen=True)
class Member:
    """A file of the archive. Args: name: its last part alone. start: where its bytes begin."""

    name: str
    start: int
    size: int


def members(path: Path) -> dict[str, Member]:
    """By their names. Raises BadImage."""
    total = path.stat().st_size
    with path.open("rb") as file:
        return _walk(file, total)


def _walk(file: BinaryIO, total: int) -> dict[str, Member]:
    found: dict[str, Member] = {}
    at, more = 0, {}
    while at + BLOCK <= total:
        file.seek(at)
        block = file.read(BLOCK)
        if not block.strip(b"\0"):
            break
        info = _header(block)
        at += BLOCK
        if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            more |= _extended(file, info)
        elif info.type in _PLAIN:
            name = _flat(more.pop("path", info.name))
            info.size = _size(more.pop("size", str(info.size)))
            if name in found:
                raise BadImage(f"The archive has two files named {name}.")
            found[name] = Member(name, at, info.size)
        elif info.type != tarfile.DIRTYPE:
            raise BadImage("The archive holds links or devices; an OVA has plain files alone.")
        at += -(-info.size // BLOCK) * BLOCK if info.type != tarfile.DIRTYPE else 0
        if at > total + BLOCK or len(found) > MOST_MEMBERS:
            raise BadImage("The archive ends too early, or has too many files.")
    if not found or any(member.start + member.size > total for member in found.values()):
        raise BadImage("The archive ends too early.")
    return found


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise BadImage("The archive is damaged.") from None
    if info.size < 0:
        raise BadImage("The archive is damaged.")
    return info


def _extended(file: BinaryIO, info: tarfile.TarInfo) -> dict[str, str]:
    """What an extended header says of the next member: its name, its size. What else it says is of no use here."""
    if info.size > _EXTENDED_BYTES:
        raise BadImage("The archive has a header that is too long.")
    data = file.read(info.size)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "replace")}
    found = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(data):
            raise BadImage("The archive is damaged.")
        key, _, value = data[len(length) + 1 : int(length)].rstrip(b"\n").partition(b"=")
        data = data[int(length) :]
        if key.startswith(b"GNU.sparse"):
            raise BadImage("The archive holds sparse files; an OVA has plain ones.")
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode("utf-8", "replace")
    return found


def _size(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise BadImage("The archive is damaged.")
    return int(text)


def _flat(name: str) -> str:
    """The last part of a relative name. Raises BadImage for names that lead out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or not name.isprintable() or not parts[-1] or len(name) > 1000:
        raise BadImage("The archive has a file whose name leads out of it.")
    return parts[-1]
