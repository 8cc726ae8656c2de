"""An OVA: its archive, its description and its manifest together."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.images import ovf
from storage.images.probe import BadImage, Probe, probe_part
from storage.images.tarball import Member, members

_LINE = re.compile(r"(SHA1|SHA256|SHA512)\s*\((.{1,300})\)\s*=\s*([0-9a-fA-F]{40,128})")
_MANIFEST_BYTES = 64 * 1024
_READ = 4 << 20


@dataclass(frozen=True)
class Checksum:
    algorithm: str
    member: Member
    digest: str


@dataclass(frozen=True)
class Disk:
    """A disk of the machine. Args: member, probe: None for one that is empty."""

    capacity_bytes: int
    member: Member | None = None
    probe: Probe | None = None


@dataclass(frozen=True)
class Ova:
    """Args: checksums: of the manifest; empty when there is none."""

    machine: ovf.Machine
    disks: tuple[Disk, ...]
    checksums: tuple[Checksum, ...]


def read(path: Path) -> Ova:
    """What an OVA holds. Reads headers and descriptions alone: the manifest's checksums are compared by `verify`.

    Raises:
        BadImage
    """
    found = members(path)
    with path.open("rb") as file:

        def content(member: Member, most: int) -> bytes:
            if member.size > most:
                raise BadImage(f"{member.name} is too long.")
            file.seek(member.start)
            return file.read(member.size)

        descriptions = [member for member in found.values() if member.name.lower().endswith(".ovf")]
        if len(descriptions) != 1:
            raise BadImage("An OVA has one description, whose name ends in .ovf.")
        machine = ovf.parse(content(descriptions[0], ovf.LARGEST))
        disks = tuple(_disk(disk, found, lambda member: probe_part(file, member.start, member.size)) for disk in machine.disks)
        manifests = [member for member in found.values() if member.name.lower().endswith(".mf")]
        checksums = _manifest(content(manifests[0], _MANIFEST_BYTES), found) if manifests else ()
    needed = {descriptions[0].name} | {disk.member.name for disk in disks if disk.member is not None}
    if manifests and needed - {checksum.member.name for checksum in checksums}:
        raise BadImage("The manifest leaves files out.")
    return Ova(machine, disks, checksums)


def _disk(disk: ovf.OvfDisk, found: dict[str, Member], look: Callable[[Member], Probe]) -> Disk:
    if not disk.file:
        if not 1 << 20 <= disk.capacity_bytes <= 1 << 46:
            raise BadImage("An empty disk of the machine has no size that makes sense.")
        return Disk(disk.capacity_bytes)
    member = found.get(disk.file.replace("\\", "/").rsplit("/", 1)[-1])
    if member is None:
        raise BadImage("A disk of the machine is not in the archive.")
    seen = look(member)
    if seen.format in ("iso", "ova"):
        raise BadImage("A disk of the machine is no disk.")
    return Disk(seen.virtual_bytes, member, seen)


def _manifest(data: bytes, found: dict[str, Member]) -> tuple[Checksum, ...]:
    checksums = []
    for line in filter(None, map(str.strip, data.decode("utf-8", "replace").splitlines())):
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadImage("The manifest makes no sense.")
        name = match[2].replace("\\", "/").rsplit("/", 1)[-1]
        if name in found:
            checksums.append(Checksum(match[1].lower(), found[name], match[3].lower()))
    return tuple(checksums)


def verify(path: Path, ova: Ova, progress: Callable[[int, int], None]) -> None:
    """Compares every file with the manifest. Raises BadImage, and what progress raises."""
    total, done = sum(checksum.member.size for checksum in ova.checksums), 0
    with path.open("rb") as file:
        for checksum in ova.checksums:
            # SHA-1 is what older exports have; it tells damage, and is no one's proof of where a file comes from.
            digest = hashlib.new(checksum.algorithm, usedforsecurity=False)
            file.seek(checksum.member.start)
            left = checksum.member.size
            while left:
                piece = file.read(min(_READ, left))
                if not piece:
                    raise BadImage("The archive ends too early.")
                digest.update(piece)
                left -= len(piece)
                done += len(piece)
                progress(done, total)
            if digest.hexdigest() != checksum.digest:
                raise BadImage(f"{checksum.member.name} is not what the manifest says: the file is damaged.")
