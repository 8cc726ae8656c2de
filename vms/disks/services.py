"""The verbs on a VM's disks: attach, attach a new one, detach, limit. Each writes its rows and submits one job.

Raises PermissionDenied (403), NotPossible and jobs.errors.ObjectBusy (409), FieldError (422).
"""

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import require
from accounts.quotas import rules
from accounts.quotas.models import Quota
from events.log import record
from jobs.engine import holder_of, submit
from jobs.errors import ObjectBusy
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name
from storage import can as storage_can
from storage import quotas, space
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain
from storage.services import LARGEST_DISK, SMALLEST_DISK, place
from vms.disks import can
from vms.disks.targets import free_target
from vms.models import VM, DiskAttachment, DiskBus

MOST_IOPS = 10**7
MOST_BYTES = 1 << 40  # a second: more than any storage gives


@dataclass(frozen=True, kw_only=True)
class NewAttached:
    """A disk that is made and attached at once.

    Args:
        name: "" calls it after the VM.
        quota: None: the VM's own, or the only one that the user holds there.
    """

    domain: StorageDomain
    capacity_bytes: int
    name: str = ""
    format: str = "qcow2"
    bus: str = DiskBus.VIRTIO
    shareable: bool = False
    quota: Quota | None = None


def attach(user: User, vm: VM, disk: Disk, bus: str = DiskBus.VIRTIO, read_only: bool = False) -> tuple[DiskAttachment, Job]:
    """Plugs a disk into the VM; the slot is chosen. While the VM runs, its guest has it at once."""
    ensure("attach", user, vm)
    require(user, "disk.attach", disk)
    if disk.content != DiskContent.DATA:
        raise NotPossible(f"{disk.name} is an ISO: put it into a CD drive.")
    with transaction.atomic():
        disk = Disk.objects.select_for_update(of=("self",)).select_related("domain", "host").get(pk=disk.pk)
        _ensure_free(vm, disk, bus)
        attachment = _draft(vm, disk, bus, read_only)
        return attachment, _submit_attach(user, vm, attachment, made=False)


def attach_new(user: User, vm: VM, new: NewAttached) -> tuple[DiskAttachment, Job]:
    """Makes an empty disk and plugs it in; when either fails, neither is left."""
    ensure("attach", user, vm)
    require(user, "disk.create", new.domain)
    _check_new(vm, new)
    name = valid_name(new.name) if new.name else f"{vm.name}_disk{vm.attachments.filter(device='disk').count() + 1}"[:255]
    disk = Disk(
        name=name,
        domain=new.domain,
        host=place(new.domain, vm.host),
        format=new.format,
        capacity_bytes=new.capacity_bytes,
        status=DiskStatus.LOCKED,
        shareable=new.shareable,
        quota=_quota_for(user, vm, new),
    )
    with transaction.atomic():
        quotas.take_disk(user, disk, "capacity_bytes")
        space.take(disk, "capacity_bytes")
        disk.save(force_insert=True)
        publish("disk", disk.pk, "added", disk.rev, {"status": disk.status})
        record("disk.created", f"Disk {disk.name} was created in {disk.domain}", obj=disk, user=user)
        attachment = _draft(vm, disk, new.bus, read_only=False)
        return attachment, _submit_attach(user, vm, attachment, made=True)


def detach(user: User, attachment: DiskAttachment) -> Job:
    """Takes a disk out of its VM; the disk stays. While the VM runs, its guest has to let go of it."""
    vm = attachment.vm
    ensure("detach", user, vm)
    disk = attachment.disk
    if disk is not None and disk.layers.exists():
        raise NotPossible(storage_can.IN_SNAPSHOTS.format(disk=disk.name))
    locks = [disk] if disk is not None else []
    title = f"Detach {disk.name if disk else attachment.target} from {vm.name}"
    return submit("vm.detach_disk", user=user, target=vm, title=title, params={"attachment": str(attachment.pk)}, locks=locks)


def set_limits(user: User, attachment: DiskAttachment, iops: int, bytes_per_second: int) -> Job:
    """What the guest may do with the disk in a second, from now on and at its next start; 0 takes a limit off."""
    vm = attachment.vm
    ensure("limits", user, vm)
    if attachment.device != "disk":
        raise NotPossible("A CD drive has no limits.")
    if not 0 <= iops <= MOST_IOPS:
        raise FieldError("io_iops", f"At most {MOST_IOPS:,} operations a second; 0 is unlimited.")
    if not 0 <= bytes_per_second <= MOST_BYTES:
        raise FieldError("io_bytes", "At most 1 TiB a second; 0 is unlimited.")
    before = [attachment.io_iops, attachment.io_bytes]
    name = attachment.disk.name if attachment.disk else attachment.target
    params: dict[str, Any] = {"attachment": str(attachment.pk), "limits": [iops, bytes_per_second], "before": before}
    with transaction.atomic():
        job = submit("vm.limit_disk", user=user, target=vm, title=f"Limit {name} of {vm.name}", params=params)
        record("vm.disk_limited", f"{name} of {vm.name}: {described_limits(iops, bytes_per_second)}", obj=vm, user=user, job=job)
        return job


def described_limits(iops: int, bytes_per_second: int) -> str:
    """Limits in words."""
    parts = [f"{iops:,} operations a second"] if iops else []
    parts += [f"{bytes_per_second:,} bytes a second"] if bytes_per_second else []
    return ", ".join(parts) or "unlimited"


def share(user: User, disk: Disk, shareable: bool) -> Disk:
    """Lets several VMs have the disk at once, or no more. It must be attached to none that runs: the mark is read at the start."""
    require(user, "disk.edit", disk)
    with transaction.atomic():
        disk = Disk.objects.select_for_update(of=("self",)).get(pk=disk.pk)
        if disk.layers.exists():
            raise NotPossible(storage_can.IN_SNAPSHOTS.format(disk=disk.name))
        if shareable and disk.format != "raw":
            raise FieldError("shareable", "Only a raw disk can be shared: of a qcow2 file each VM would spoil the other's tables.")
        if disk.attachments.exclude(vm__status="down").exists():
            raise NotPossible(f"{disk.name} is attached to a VM that is not down.")
        if not shareable and disk.attachments.count() > 1:
            raise NotPossible(f"{disk.name} is attached to several VMs.")
        disk.shareable, disk.rev = shareable, disk.rev + 1
        disk.save(update_fields=["shareable", "rev", "updated_at"])
        word = "may be shared by several VMs" if shareable else "is one VM's alone"
        record("disk.edited", f"Disk {disk.name} {word}", obj=disk, user=user)
        publish("disk", disk.pk, "changed", disk.rev, {"status": disk.status})
    return disk


def ensure(action: str, user: User, vm: VM) -> None:
    """Permission, then capability. Raises PermissionDenied, ObjectBusy, NotPossible."""
    require(user, can.ACTIONS[action].permission, vm)
    if (busy := holder_of(vm)) is not None:
        raise ObjectBusy(vm.name, busy)
    if not (verdict := can.check(action, vm)):
        raise NotPossible(verdict.reason)


def _ensure_free(vm: VM, disk: Disk, bus: str) -> None:
    if (busy := holder_of(disk)) is not None:
        raise ObjectBusy(disk.name, busy)
    if disk.templates.exists():
        raise NotPossible(f"{disk.name} belongs to a template.")
    if disk.children.exists():
        raise NotPossible(f"Thin copies build on {disk.name}: writing to it would spoil them.")
    others = list(disk.attachments.order_by("vm__name").values_list("vm__name", flat=True))
    if not (verdict := can.check_disk(vm, disk, bus, others=others)):
        raise NotPossible(verdict.reason)


def _check_new(vm: VM, new: NewAttached) -> None:
    if new.domain.data_center_id != vm.cluster.data_center_id:
        raise FieldError("domain", f"{new.domain.name} belongs to another data center.")
    if new.format not in new.domain.traits.formats:
        raise FieldError("format", f"Disks in {new.domain.name} are {' or '.join(new.domain.traits.formats)}.")
    if new.shareable and new.format != "raw":
        raise FieldError("format", "Only a raw disk can be shared.")
    if not SMALLEST_DISK <= new.capacity_bytes <= LARGEST_DISK:
        raise FieldError("capacity_bytes", "A disk has between 1 MiB and 64 TiB.")
    if not (verdict := can.check_bus(vm, new.bus)):
        raise FieldError("bus", verdict.reason)
    if not (verdict := storage_can.check_domain("create-disk", new.domain, busy=holder_of(new.domain))):
        raise NotPossible(verdict.reason)


def _quota_for(user: User, vm: VM, new: NewAttached) -> Quota | None:
    usable = vm.quota is not None and Quota.objects.usable_by(user).filter(pk=vm.quota.pk).exists()
    return rules.choose(user, new.domain.data_center, new.quota or (vm.quota if usable else None))


def _draft(vm: VM, disk: Disk, bus: str, read_only: bool) -> DiskAttachment:
    target = free_target(bus, set(vm.attachments.values_list("target", flat=True)))
    if target is None:
        raise NotPossible(f"{vm.name} has no free place for another {DiskBus(bus).label} disk.")
    try:
        with transaction.atomic():
            return DiskAttachment.objects.create(vm=vm, disk=disk, target=target, bus=bus, read_only=read_only)
    except IntegrityError:
        raise NotPossible(f"Another disk is being attached to {vm.name}: try again.") from None


def _submit_attach(user: User, vm: VM, attachment: DiskAttachment, *, made: bool) -> Job:
    disk = attachment.disk
    assert disk is not None
    params = {"attachment": str(attachment.pk), "disk": str(disk.pk), "made": made}
    title = f"{'Make' if made else 'Attach'} {disk.name} {'for' if made else 'to'} {vm.name}"
    kind = "vm.attach_new_disk" if made else "vm.attach_disk"
    job = submit(kind, user=user, target=vm, title=title, params=params, locks=[disk])
    publish("vm", vm.pk, "changed", vm.rev)
    return job
