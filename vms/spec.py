"""From a VM's rows to the frozen spec of its domain. Pure over loaded rows: `vm.host`, `vm.cluster`, attachments, NICs."""

from collections.abc import Sequence
from dataclasses import replace

from hypervisor.spec import DiskSpec, DomainSpec, GraphicsSpec, Metadata, NicSpec
from portal.secrets import decrypt
from storage.sources import source_of
from vms.models import VM, DiskAttachment, Nic, VmOrigin

# Any VM can grow to so many CPUs without a restart; one that starts with more to the next power of two. An absent CPU costs its guest some KiB.
ROOM_VCPUS = 8
MOST_VCPUS = 240  # more than 255 take an interrupt-remapping IOMMU, which Vireo's machines have not


def attachments_of(vm: VM) -> list[DiskAttachment]:
    return list(vm.attachments.select_related("disk__domain").order_by("target"))


def nics_of(vm: VM) -> list[Nic]:
    return list(vm.nics.select_related("network").order_by("name"))


def disk_spec(attachment: DiskAttachment) -> DiskSpec:
    """One disk or CD drive as its domain should have it. Pure over the loaded `disk`."""
    disk = attachment.disk
    is_cd = attachment.device == "cdrom"
    return DiskSpec(
        **(source_of(disk) if disk is not None else {"source": ""}),
        target=attachment.target,
        bus=attachment.bus,
        device=attachment.device,
        format="raw" if is_cd or disk is None else disk.format,
        serial="" if is_cd or disk is None else disk.pk.hex[:20],
        readonly=attachment.read_only or is_cd,
        shareable=disk is not None and disk.shareable,
        io_iops=attachment.io_iops,
        io_bytes=attachment.io_bytes,
    )


def _nic(nic: Nic) -> NicSpec:
    return NicSpec(
        mac=nic.mac,
        network=nic.network.libvirt_name if nic.network else nic.foreign_source,
        model=nic.model,
        link_up=nic.linked,
        alias=str(nic.pk),
    )


def virt_type(vm: VM) -> str:
    """KVM only where a guest was proven to run under it."""
    if vm.host is not None and vm.host.driver.lower() == "test":
        return "test"
    return "kvm" if vm.host is not None and vm.host.runs_kvm else "qemu"


def most_vcpus(vcpus: int) -> int:
    """What a VM that starts with so many CPUs can grow to while it runs; the same for every count up to that."""
    return max(vcpus, min(MOST_VCPUS, max(ROOM_VCPUS, 1 << (vcpus - 1).bit_length())))


def build_spec(vm: VM, attachments: Sequence[DiskAttachment] | None = None, nics: Sequence[Nic] | None = None) -> DomainSpec:
    """The domain that is asked for. The spec holds the display's password: never log it."""
    found_attachments = attachments_of(vm) if attachments is None else attachments
    found_nics = nics_of(vm) if nics is None else nics
    return DomainSpec(
        uuid=str(vm.pk),
        name=vm.domain_name or vm.name,
        title=vm.name,
        description=vm.description,
        memory_mib=vm.memory_mib,
        vcpus=vm.vcpus,
        vcpus_max=most_vcpus(vm.vcpus) if vm.origin != VmOrigin.ADOPTED else None,
        cpu_model=vm.cluster.cpu_model,
        virt_type=virt_type(vm),
        firmware=vm.firmware,
        kernel=vm.kernel,
        initrd=vm.initrd,
        cmdline=vm.cmdline,
        disks=tuple(disk_spec(attachment) for attachment in found_attachments),
        nics=tuple(_nic(nic) for nic in found_nics),
        clipboard=vm.host is not None and "clipboard" in vm.host.capabilities.get("features", ()),
        graphics=GraphicsSpec(password=decrypt(vm.display_secret)),
        metadata=Metadata(vm_id=str(vm.pk), owner=vm.owner.username if vm.owner else "", tags=tuple(vm.tags)),
    )


def with_iso(spec: DomainSpec, path: str) -> DomainSpec:
    """The same machine, booting once from an ISO in its CD drive."""
    drive = DiskSpec(source=path, target="sda", bus="sata", device="cdrom", format="raw", readonly=True)
    # The drive comes first, for it is booted from; a CD on another bus holds first boot settings, and stays.
    others = tuple(disk for disk in spec.disks if disk.target != drive.target)
    return replace(spec, disks=(drive, *others), boot_order=("cdrom", "hd"))
