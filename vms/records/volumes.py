"""How the volumes that hold records are called."""

import re
from uuid import UUID

_NAME = re.compile(r"vireo-vms-([0-9a-f-]{36})-([0-9]{6,9})")


def volume_of(domain: UUID, serial: int) -> str:
    """A Vireo calls its records by the id that it gave the domain, so that two never overwrite each other's."""
    return f"vireo-vms-{domain}-{serial:06}"


def keeper_of(volume: str) -> tuple[str, int] | None:
    """The id of the domain at the Vireo that wrote it, and the serial; None for a volume that holds no records."""
    found = _NAME.fullmatch(volume)
    return (found[1], int(found[2])) if found else None
