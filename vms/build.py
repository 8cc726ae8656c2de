"""The rows of a new VM: disks, attachments, NIC, display secret. They are drafts until the job has made what they name."""

import secrets
import string

from networks.models import Network
from portal.secrets import encrypt
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain
from vms.models import VM, DiskAttachment, DiskBus, Nic, Template

DEFAULT_DISK_BYTES = 8 << 30
_LETTERS = string.ascii_letters + string.digits


def new_display_secret() -> str:
    """VNC passwords have 8 characters: 47 bits, from nowhere but here, stored encrypted."""
    return encrypt("".join(secrets.choice(_LETTERS) for _ in range(8)))


def new_mac() -> str:
    """QEMU's own prefix, and a number that no other NIC has."""
    while True:
        mac = "52:54:00:" + ":".join(f"{secrets.randbelow(256):02x}" for _ in range(3))
        if not Nic.objects.filter(mac=mac).exists():
            return mac


def draft_disks(vm: VM, template: Template | None, domain: StorageDomain, disk_bytes: int | None, iso: Disk | None) -> list[Disk]:
    """A disk for each of the template's, or one blank one; and a CD drive, with the ISO when there is one."""
    made = []
    for index, source in enumerate(template.disks.order_by("created_at") if template else [None]):
        disk = Disk.objects.create(
            name=f"{vm.name}_disk{index + 1}"[:255],
            domain=domain,
            host=source.host if source is not None and source.domain_id == domain.pk else None,
            capacity_bytes=source.capacity_bytes if source else disk_bytes or DEFAULT_DISK_BYTES,
            backing=source if source is not None and source.domain_id == domain.pk else None,
            status=DiskStatus.LOCKED,
        )
        DiskAttachment.objects.create(vm=vm, disk=disk, target=f"vd{chr(ord('a') + index)}", bus=DiskBus.VIRTIO)
        made.append(disk)
    if template is None or iso is not None:
        assert iso is None or iso.content == DiskContent.ISO
        DiskAttachment.objects.create(vm=vm, disk=iso, device="cdrom", target="sda", bus=DiskBus.SATA, read_only=True)
    return made


def draft_nic(vm: VM, network: Network | None) -> None:
    if network is not None:
        Nic.objects.create(vm=vm, name="nic1", mac=new_mac(), network=network)
