"""Makes VMs of what a scan read from a storage domain's records."""

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import allowed, grant, require
from events.log import record as log_event
from hosts.models import Cluster
from jobs.engine import holder_of
from networks.models import Network
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name
from storage import imports
from storage.domains import ensure
from storage.models import Disk, FoundVolume, StorageDomain
from vms.build import domain_name_for, new_display_secret, new_mac
from vms.models import VM, DiskAttachment, DiskBus, Nic, VmStatus
from vms.records.manifest import NicRecord, VmRecord
from vms.records.models import FoundVm
from vms.records.reading import why_not


def take_in(user: User, domain: StorageDomain, cluster: Cluster, chosen: Iterable[int]) -> list[VM]:
    """Makes VMs, down, and disks of the volumes that they name with what those build on. Nothing on the storage is touched.

    A NIC is plugged into the cluster's network of the name that it had, if the user may use that, and else into none.

    Args:
        chosen: ids of FoundVm rows of this domain; others are passed over.

    Raises:
        PermissionDenied, FieldError; NotPossible: none chosen, or one cannot be taken in. Then none is.
    """
    require(user, "storage_domain.edit", domain)
    require(user, "vm.create", cluster)
    if not allowed(user, "disk.create", domain):
        raise PermissionDenied("You may not create disks here.")
    if cluster.data_center_id != domain.data_center_id:
        raise FieldError("cluster", f"Cluster {cluster.name} lies in another data center.")
    ensure("take-in", domain)
    try:
        with transaction.atomic():
            StorageDomain.objects.select_for_update().get(pk=domain.pk)  # two at once would take the same volume
            found = list(domain.found_vms.filter(pk__in=list(chosen)))
            if not found:
                raise NotPossible("Choose what to take in.")
            return [_take(user, domain, cluster, each) for each in found]
    except IntegrityError:
        raise NotPossible("One of them is there meanwhile: look for volumes again.") from None


def _take(user: User, domain: StorageDomain, cluster: Cluster, found: FoundVm) -> VM:
    record = VmRecord.model_validate(found.record)
    here = {volume.name: volume for volume in domain.found.select_related("host")}
    reason = why_not(domain, record, here)
    if not reason and VM.objects.filter(pk=record.id).exists():
        reason = "it is there already"
    name = valid_name(record.name)
    if not reason and VM.objects.filter(cluster=cluster, name__iexact=name).exists():
        reason = f"cluster {cluster.name} has a VM of that name"
    if reason:
        raise NotPossible(f"{record.name} cannot be taken in: {reason}.")
    disks = _disks(user, domain, record, here)
    vm = _vm(user, cluster, name, record)
    for disk in record.disks:
        DiskAttachment.objects.create(
            vm=vm,
            disk=disks[disk.volume] if disk.volume in disks else _free(user, disk.id),
            target=disk.target,
            bus=disk.bus,
            read_only=disk.read_only,
            io_iops=disk.io_iops,
            io_bytes=disk.io_bytes,
        )
    for target in record.drives:
        DiskAttachment.objects.create(vm=vm, disk=None, device="cdrom", target=target, bus=DiskBus.SATA, read_only=True)
    for nic in record.nics:
        _nic(user, vm, nic)
    found.delete()
    log_event("vm.imported", f"{vm.name} was taken in from {domain.name}", obj=vm, user=user)
    publish("vm", vm.pk, "added", vm.rev, {"status": vm.status})
    return vm


def _disks(user: User, domain: StorageDomain, record: VmRecord, here: dict[str, FoundVolume]) -> dict[str, Disk]:
    """Volume -> the disk made of it, under the id and name that it had if those are free."""
    by_path = {volume.path: volume for volume in here.values()}
    wanted: dict[int, FoundVolume] = {}
    for disk in record.disks:
        volume = here.get(disk.volume)
        while volume is not None and volume.pk not in wanted:
            wanted[volume.pk] = volume
            volume = by_path.get(volume.backing_path) if volume.backing_path else None
    known = {disk.volume: disk for disk in record.disks}
    made = imports.adopt_volumes(user, domain, list(wanted.values()), {name: (disk.id, disk.name) for name, disk in known.items()})
    for disk in made:
        if disk.volume in known and known[disk.volume].shareable:
            Disk.objects.filter(pk=disk.pk).update(shareable=True)
    return {disk.volume: disk for disk in made}


def _free(user: User, key: object) -> Disk:
    """A disk that is there already, and that nothing else needs."""
    disk = Disk.objects.select_for_update(of=("self",)).get(pk=key)
    require(user, "disk.attach", disk)
    if disk.attachments.exists() or disk.templates.exists() or disk.children.exists() or holder_of(disk) is not None:
        raise NotPossible(f"Disk {disk.name} is in use.")
    return disk


def _vm(user: User, cluster: Cluster, name: str, record: VmRecord) -> VM:
    vm = VM(
        id=record.id,
        name=name,
        description=record.description,
        cluster=cluster,
        owner=user,
        memory_mib=record.memory_mib,
        vcpus=record.vcpus,
        firmware=record.firmware,
        os=record.os,
        tags=record.tags,
        delete_protected=record.delete_protected,
        highly_available=record.highly_available,
        restart_by_lease=record.restart_by_lease,
        priority=record.priority,
        status=VmStatus.DOWN,
        display_secret=new_display_secret(),
        rev=1,
    )
    vm.domain_name = domain_name_for(vm)
    vm.save(force_insert=True)
    grant("UserVmManager", vm, user=user, by=user)
    return vm


def _nic(user: User, vm: VM, record: NicRecord) -> None:
    network = Network.objects.visible_to(user, "network.use").filter(cluster=vm.cluster, name__iexact=record.network).first()
    taken = Nic.objects.filter(mac=record.mac).exists()
    mac = new_mac() if taken else record.mac
    Nic.objects.create(vm=vm, name=record.name, mac=mac, network=network, model=record.model, linked=record.linked)
