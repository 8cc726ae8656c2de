"""A VM of an OVA, and an OVA of a VM."""

import os
from dataclasses import dataclass
from pathlib import Path

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import grant, require
from accounts.quotas import rules
from accounts.quotas.models import Quota
from audit import log as audit
from events.log import record
from hosts.models import Cluster
from jobs import engine
from jobs.engine import holder_of
from jobs.errors import ObjectBusy
from jobs.models import Job
from networks.models import Network
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name
from storage.images import ova, spool
from storage.images.models import Image, ImageSource, Upload, UploadStatus
from storage.images.probe import BadImage
from storage.models import Disk, DiskStatus, StorageDomain
from vms import quota as vm_quota
from vms import services
from vms.build import domain_name_for, new_display_secret, new_mac
from vms.lending import expiry_of_new
from vms.models import VM, DiskAttachment, DiskBus, Nic, VmStatus

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True)
class FromOva:
    """What becomes of an OVA.

    Args:
        network: that all its NICs are plugged into; None: none of them is.
        virtio: its guest has the drivers; otherwise disks and NICs are of kinds that every system knows.
    """

    name: str
    cluster: Cluster
    domain: StorageDomain
    network: Network | None = None
    virtio: bool = True
    start: bool = False
    quota: Quota | None = None


def read(upload: Upload) -> ova.Ova:
    """What the upload holds. Raises NotPossible: it is no OVA that is taken."""
    try:
        return ova.read(spool.path_of(upload.pk))
    except (BadImage, FileNotFoundError) as error:
        raise NotPossible(str(error) if isinstance(error, BadImage) else "The file is no longer here: upload it again.") from None


def create(user: User, upload: Upload, new: FromOva) -> tuple[VM, Job]:
    """Makes the rows, and the job `vm.import` that makes disks and domain; when that fails nothing is left but the reason.

    Raises:
        PermissionDenied, FieldError, NotPossible.
    """
    require(user, "vm.create", new.cluster)
    require(user, "disk.create", new.domain)
    found = read(upload)
    asked = services.NewVm(
        name=valid_name(new.name),
        cluster=new.cluster,
        memory_mib=found.machine.memory_mib,
        vcpus=found.machine.vcpus,
        network=new.network,
        storage_domain=new.domain,
        firmware=found.machine.firmware,
    )
    services._check_hardware(asked.memory_mib, asked.vcpus, asked.firmware)
    services._check_references(user, asked)
    services._storage_for(user, asked)
    taken = FieldError("name", f"Cluster {new.cluster.name} has a VM named {asked.name} already.")
    if VM.objects.filter(cluster=new.cluster, name__iexact=asked.name).exists():
        raise taken
    try:
        with transaction.atomic():
            if not Upload.objects.filter(pk=upload.pk, user=user, status=UploadStatus.COMPLETE).update(status=UploadStatus.TAKEN):
                raise NotPossible("This OVA was taken already.")
            return _make(user, upload, new, asked, found)
    except IntegrityError:
        raise taken from None


def _make(user: User, upload: Upload, new: FromOva, asked: services.NewVm, found: ova.Ova) -> tuple[VM, Job]:
    vm = VM(
        name=asked.name,
        cluster=new.cluster,
        owner=user,
        memory_mib=asked.memory_mib,
        vcpus=asked.vcpus,
        firmware=asked.firmware,
        os=found.machine.os,
        status=VmStatus.IMAGE_LOCKED,
        display_secret=new_display_secret(),
        expires_at=expiry_of_new(user),
        quota=rules.choose(user, new.cluster.data_center, new.quota),
        rev=1,
    )
    vm_quota.take_new(user, vm, new.domain, sum(disk.capacity_bytes for disk in found.disks), new.start)
    vm.domain_name = domain_name_for(vm)
    vm.save(force_insert=True)
    disks = [_draft_disk(user, vm, new, upload, number, disk) for number, disk in enumerate(found.disks)]
    drive = "sda" if new.virtio else f"sd{_LETTERS[len(disks)]}"
    DiskAttachment.objects.create(vm=vm, disk=None, device="cdrom", target=drive, bus=DiskBus.SATA, read_only=True)
    for number, _network in enumerate(found.machine.nics, 1):
        model = "virtio" if new.virtio else "e1000e"
        Nic.objects.create(vm=vm, name=f"nic{number}", mac=new_mac(), network=new.network, model=model)
    grant("UserVmManager", vm, user=user, by=user)
    change = audit.Change({}, audit.snapshot(vm, "name", "memory_mib", "vcpus", "firmware", "os", "cluster"))
    # A second name for the file: whichever way the transaction ends, one of the two is right.
    os.link(spool.path_of(upload.pk), spool.path_of(vm.pk))
    transaction.on_commit(lambda: spool.drop(upload.pk))
    job = engine.submit(
        "vm.import", user=user, target=vm, title=f"Import {vm.name}", params={"start": new.start}, locks=[vm, *disks], change=change
    )
    record("vm.create_asked", f"{user} asked for VM {vm.name}, from {upload.file_name}", obj=vm, user=user, job=job)
    publish("vm", vm.pk, "added", vm.rev, {"status": vm.status})
    return vm, job


def _draft_disk(user: User, vm: VM, new: FromOva, upload: Upload, number: int, disk: ova.Disk) -> Disk:
    made = Disk.objects.create(
        name=f"{vm.name}_disk{number + 1}"[:255],
        domain=new.domain,
        capacity_bytes=disk.capacity_bytes,
        status=DiskStatus.LOCKED,
        quota=vm.quota,
    )
    bus, letters = (DiskBus.VIRTIO, "vd") if new.virtio else (DiskBus.SATA, "sd")
    DiskAttachment.objects.create(vm=vm, disk=made, target=letters + _LETTERS[number], bus=bus)
    if disk.member is not None and disk.probe is not None:
        Image.objects.create(
            disk=made,
            source=ImageSource.OVA,
            file_name=f"{upload.file_name}: {disk.member.name}"[:255],
            file_format=disk.probe.format,
            file_bytes=disk.member.size,
            by=user,
        )
    return made


def export(user: User, vm: VM) -> Job:
    """Makes an OVA of a VM that is down; it is kept for a day.

    Raises:
        PermissionDenied, ObjectBusy, NotPossible.
    """
    require(user, "vm.edit", vm)
    disks = disks_of(vm)
    for disk in disks:
        require(user, "disk.download", disk)
    busy = holder_of(vm)
    if busy is not None:
        raise ObjectBusy(vm.name, busy)
    if vm.status != VmStatus.DOWN:
        raise NotPossible(f"{vm.name} is {vm.get_status_display().lower()}: shut it down first.")
    if any(disk.domain is None or disk.status != DiskStatus.OK for disk in disks):
        raise NotPossible("A disk of the VM is not ready, or lies outside of Vireo's storage.")
    return engine.submit("vm.export", user=user, target=vm, title=f"Export {vm.name} as OVA", locks=[vm, *disks])


def export_path(vm: VM) -> Path:
    return spool.path_of(vm.pk, "export-ova")


def bytes_of(vm: VM) -> int:
    """How large the OVA is that waits to be fetched; 0 for none."""
    path = export_path(vm)
    return path.stat().st_size if path.exists() else 0


def disks_of(vm: VM) -> list[Disk]:
    """What goes into its OVA: all but CD drives."""
    rows = DiskAttachment.objects.filter(vm=vm, device="disk", disk__isnull=False).select_related("disk__domain", "disk__host__cluster")
    return [attachment.disk for attachment in rows.order_by("target") if attachment.disk is not None]
