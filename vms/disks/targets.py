"""Which slot a disk takes. Pure."""

from collections.abc import Collection
from string import ascii_lowercase

from vms.models import DiskBus

# libvirt names the slots of SCSI and SATA alike; a q35 machine has one SATA controller with six ports.
_LETTERS = {DiskBus.VIRTIO: ("vd", 26), DiskBus.SCSI: ("sd", 14), DiskBus.SATA: ("sd", 6)}


def free_target(bus: str, taken: Collection[str]) -> str | None:
    """The first free slot on the bus, None when there is none.

    Args:
        taken: the VM's slots, on every bus.
    """
    prefix, count = _LETTERS[DiskBus(bus)]
    return next((prefix + letter for letter in ascii_lowercase[:count] if prefix + letter not in taken), None)
