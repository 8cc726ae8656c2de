"""The rows of a new VM: disks, attachments, NIC, display secret. They are drafts until the job has made what they name."""

import secrets
import string
import unicodedata
from dataclasses import dataclass

from networks.models import Network
from portal.secrets import encrypt
from storage import space
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain
from vms.models import VM, DiskAttachment, DiskBus, Nic, Template

DEFAULT_DISK_BYTES = 8 << 30
# Of a domain's name. libvirt makes files of it, which have 255 bytes with what it adds, and with its first 20 characters
# a socket, whose path has 107.
NAME_BYTES, SHORT_NAME, SHORT_NAME_BYTES = 200, 20, 32
_LETTERS = string.ascii_letters + string.digits


def new_display_secret() -> str:
    """VNC passwords have 8 characters: 47 bits, from nowhere but here, stored encrypted."""
    return encrypt("".join(secrets.choice(_LETTERS) for _ in range(8)))


def domain_name_for(vm: VM) -> str:
    """libvirt's name of the VM, for good: as the VM is called, where a host's files can be called that and no other domain is."""
    name = vm.name.replace("/", "_")
    if len(name[:SHORT_NAME].encode()) > SHORT_NAME_BYTES:
        name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().strip() or "vm"
    name = name.encode()[:NAME_BYTES].decode(errors="ignore")
    taken = VM.objects.filter(cluster=vm.cluster_id, domain_name__iexact=name).exists()
    return name if name == vm.name and not taken and name.strip(".") else f"{name}-{vm.pk.hex[:8]}"


def new_mac() -> str:
    """QEMU's own prefix, and a number that no other NIC has."""
    while True:
        mac = "52:54:00:" + ":".join(f"{secrets.randbelow(256):02x}" for _ in range(3))
        if not Nic.objects.filter(mac=mac).exists():
            return mac


@dataclass(frozen=True)
class Draft:
    """A disk to be made, and what it is a full copy of, if it is one (a thin one has it as its backing)."""

    disk: Disk
    copy_of: Disk | None


def draft_disks(
    vm: VM, template: Template | None, domain: StorageDomain, disk_bytes: int | None, iso: Disk | None, *, full_copy: bool = False
) -> list[Draft]:
    """A disk for each of the template's, thin where it can be and `full_copy` is not asked for, or one blank one; and a CD drive."""
    made = []
    for index, source in enumerate(template.disks.order_by("created_at") if template else [None]):
        thin = source is not None and source.domain_id == domain.pk and not full_copy
        disk = Disk.objects.create(
            name=f"{vm.name}_disk{index + 1}"[:255],
            domain=domain,
            host=source.host if source is not None and thin else None,
            format=domain.traits.formats[0],
            capacity_bytes=source.capacity_bytes if source else disk_bytes or DEFAULT_DISK_BYTES,
            backing=source if thin else None,
            status=DiskStatus.LOCKED,
            quota=vm.quota,
        )
        space.take(disk, "storage_domain")
        DiskAttachment.objects.create(vm=vm, disk=disk, target=f"vd{chr(ord('a') + index)}", bus=DiskBus.VIRTIO)
        made.append(Draft(disk, None if thin else source))
    if template is None or iso is not None:
        assert iso is None or iso.content == DiskContent.ISO
        DiskAttachment.objects.create(vm=vm, disk=iso, device="cdrom", target="sda", bus=DiskBus.SATA, read_only=True)
    return made


def draft_nic(vm: VM, network: Network | None) -> None:
    if network is not None:
        Nic.objects.create(vm=vm, name="nic1", mac=new_mac(), network=network)
