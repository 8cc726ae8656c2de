"""First boot settings of a VM: given with a new one, changed later. The seed CD follows by vms.guest.steps."""

import ipaddress
from dataclasses import replace

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from events.log import record
from jobs.engine import holder_of, submit
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain, StorageKind, StorageStatus
from vms import can
from vms.guest.models import FirstBootSettings
from vms.guest.seed import SEED_BYTES, SeedFor, image
from vms.guest.settings import FirstBoot, SetUpBy, checked, login_for, sealed
from vms.models import VM, DiskAttachment, DiskBus, Template, VmOrigin, VmStatus

# Where libvirt takes an upload: a volume that is a file.
_FILES = (StorageKind.SHARED_DIR, StorageKind.LOCAL_DIR)
_SLOTS = tuple(f"sd{letter}" for letter in "bcdefg")
_SAMPLE_MAC = "52:54:00:00:00:00"


def keys_of(user: User) -> tuple[str, ...]:
    """The public keys that the user keeps in their account."""
    return tuple(user.ssh_keys.order_by("name").values_list("public_key", flat=True))


def default_for(user: User | None, template: Template | None) -> FirstBoot:
    """What a VM of this template is told when nobody says otherwise: its creator's login and keys; None makes it for nobody yet."""
    if template is None or template.set_up_by == SetUpBy.NONE:
        return FirstBoot()
    if template.set_up_by == SetUpBy.SYSPREP:
        return FirstBoot(by=SetUpBy.SYSPREP)
    if user is None:
        return FirstBoot(by=SetUpBy.CLOUD_INIT)
    return FirstBoot(by=SetUpBy.CLOUD_INIT, user=login_for(user.username), ssh_keys=keys_of(user))


def fitting(settings: FirstBoot, vm_name: str, nics: int = 1) -> FirstBoot:
    """The settings, checked, and not too much for the CD. Raises FieldError."""
    found = checked(settings)
    if found.by != SetUpBy.NONE:
        image(found, SeedFor(vm_name, "", [(f"nic{index + 1}", _SAMPLE_MAC) for index in range(nics)]))
    return found


def draft(vm: VM, settings: FirstBoot, domain: StorageDomain | None) -> Disk | None:
    """The rows of checked settings and of the CD that will hold them; None when there is nothing to say.

    Args:
        domain: where the VM's disks lie.
    """
    if settings.by == SetUpBy.NONE:
        return None
    FirstBootSettings.objects.update_or_create(vm=vm, defaults={"by": settings.by, "stored": sealed(settings)})
    return _draft_disk(vm, settings, domain)


def _draft_disk(vm: VM, settings: FirstBoot, domain: StorageDomain | None) -> Disk:
    disk = Disk.objects.create(
        name=f"{vm.name} first boot"[:255],
        domain=_place(vm, domain),
        content=DiskContent.SEED,
        format="raw",
        capacity_bytes=SEED_BYTES,
        status=DiskStatus.LOCKED,
    )
    taken = set(vm.attachments.values_list("target", flat=True))
    slot = next((slot for slot in _SLOTS if slot not in taken), None)
    if slot is None:
        raise NotPossible(f"{vm.name} has no free slot for a CD.")
    # The cloud kernels of Linux have no SATA driver, and Windows has none for VirtIO-SCSI.
    bus = DiskBus.SATA if settings.by == SetUpBy.SYSPREP else DiskBus.SCSI
    DiskAttachment.objects.create(vm=vm, disk=disk, device="cdrom", target=slot, bus=bus, read_only=True)
    return disk


def _place(vm: VM, domain: StorageDomain | None) -> StorageDomain:
    """Beside the disks; where those are no files, in the data center's first shared directory."""
    if domain is not None and domain.kind in _FILES:
        return domain
    found = StorageDomain.objects.filter(
        data_center=vm.cluster.data_center_id, kind=StorageKind.SHARED_DIR, status=StorageStatus.ACTIVE
    ).first()
    if found is None:
        raise FieldError("by", "First boot settings need a storage domain that is a directory, for their CD.")
    return found


def seed_of(vm: VM) -> DiskAttachment | None:
    """The seed CD in its slot."""
    return vm.attachments.select_related("disk__domain", "disk__host").filter(disk__content=DiskContent.SEED).first()


def settings_of(vm: VM) -> FirstBoot:
    found = FirstBootSettings.objects.filter(vm=vm).first()
    return found.settings if found else FirstBoot()


def ssh_command(vm: VM) -> str:
    """How its user signs in by SSH; "" where that is not known. The address is the guest's own word, and somebody will paste this
    into a shell: it is an IP address, or nothing.
    """
    settings = settings_of(vm)
    if settings.by != SetUpBy.CLOUD_INIT or not settings.user:
        return ""
    for text in vm.guest_addresses:
        try:
            address = ipaddress.ip_address(str(text).split("/")[0])
        except ValueError:
            continue
        if not address.is_loopback and "%" not in str(address):
            return f"ssh {settings.user}@{address}"
    return ""


def change(user: User, vm: VM, wanted: FirstBoot) -> Job | None:
    """New settings. The CD is written at once where the VM is down, otherwise at its next start.

    An empty password leaves the one that is set.

    Raises PermissionDenied, NotPossible, FieldError.
    """
    require(user, "vm.edit", vm)
    if vm.origin == VmOrigin.ADOPTED:
        raise NotPossible(f"{vm.name} was adopted: it had its first boot before.")
    verdict = can.check("edit", vm, busy=holder_of(vm))
    if not verdict:
        raise NotPossible(verdict.reason)
    old = settings_of(vm)
    if not wanted.password and wanted.by == old.by:
        wanted = replace(wanted, password=old.password, password_hash=old.password_hash)
    if not wanted.product_key and wanted.by == old.by:
        wanted = replace(wanted, product_key=old.product_key)
    settings = fitting(wanted, vm.name, vm.nics.count())
    if settings == old:
        return None
    with transaction.atomic():
        vm.refresh_from_db(from_queryset=VM.objects.select_for_update(of=("self",)))
        row, _made = FirstBootSettings.objects.select_for_update().get_or_create(vm=vm)
        row.by, row.stored, row.revision = settings.by, sealed(settings), row.revision + 1
        row.save()
        attachment = seed_of(vm)
        if settings.by != SetUpBy.NONE and attachment is None:
            first = vm.attachments.filter(device="disk", disk__domain__isnull=False).select_related("disk__domain").first()
            _draft_disk(vm, settings, first.disk.domain if first and first.disk else None)
        elif settings.by not in (SetUpBy.NONE, old.by) and attachment is not None:
            attachment.bus = DiskBus.SATA if settings.by == SetUpBy.SYSPREP else DiskBus.SCSI
            attachment.save(update_fields=["bus"])
        record("vm.first_boot", f"First boot settings of {vm.name} changed", obj=vm, user=user)
        job = None
        if vm.status == VmStatus.DOWN and vm.host_id is not None and holder_of(vm) is None:
            job = submit("vm.first_boot", user=user, target=vm, title=f"Write first boot settings of {vm.name}")
        vm.rev += 1
        vm.save(update_fields=["rev"])
        publish("vm", vm.pk, "changed", vm.rev, {"status": vm.status})
    return job
