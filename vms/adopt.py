"""Taking over a domain that Vireo did not make, as it is and without a stop. Each domain is adopted once, however many try."""

import logging
from pathlib import PurePosixPath

from django.db import IntegrityError, transaction
from django.utils import timezone

from events.log import record as log_event
from hosts.models import Host
from hypervisor.domain_xml import from_xml
from hypervisor.domains import DomainRecord
from hypervisor.spec import DiskSpec, DomainSpec
from networks.models import Network
from portal.live import publish
from storage.models import Disk, DiskContent
from vms import states
from vms.models import VM, DiskAttachment, Nic, VmOrigin, VmStatus

log = logging.getLogger(__name__)


def adopt(host: Host, record: DomainRecord) -> VM | None:
    """A row for the domain; None when somebody else was first, or its XML cannot be read."""
    try:
        spec = from_xml(record.xml)
    except ValueError as error:
        log.warning("%s on %s cannot be adopted: %s", record.name, host.name, error)
        return None
    for name in (record.name, f"{record.name}@{host.name}", record.uuid):
        if VM.objects.filter(cluster_id=host.cluster_id, name__iexact=name[:255]).exists():
            continue
        try:
            with transaction.atomic():
                return _make(host, record, spec, name[:255])
        except IntegrityError:
            if VM.objects.filter(pk=record.uuid).exists():
                return None  # another adopted it meanwhile
    return None


def _make(host: Host, record: DomainRecord, spec: DomainSpec, name: str) -> VM:
    status, reason = states.of_record(record, VmStatus.UP)
    now = timezone.now()
    vm = VM(
        id=record.uuid,
        name=name,
        domain_name=record.name[:255],
        description=spec.description[:4000],
        cluster_id=host.cluster_id,
        host=host,
        origin=VmOrigin.ADOPTED,
        memory_mib=max(1, spec.memory_mib),
        vcpus=max(1, spec.vcpus),
        firmware=spec.firmware,
        kernel=spec.kernel[:1024],
        initrd=spec.initrd[:1024],
        cmdline=spec.cmdline[:1024],
        status=status,
        status_reason=reason,
        status_since=now,
        started_at=now if status not in (VmStatus.DOWN, VmStatus.SUSPENDED) else None,
        os="",
        rev=1,
    )
    vm.save(force_insert=True)
    for disk in spec.disks:
        _attach(vm, host, disk)
    networks = {network.libvirt_name: network for network in Network.objects.filter(cluster_id=host.cluster_id)}
    for number, nic in enumerate(spec.nics, 1):
        network = networks.get(nic.network)
        source = "" if network else (nic.network or nic.bridge)[:64]
        Nic.objects.create(
            vm=vm, name=f"nic{number}", mac=nic.mac[:17], network=network, foreign_source=source, model=nic.model[:16], linked=nic.link_up
        )
    log_event("vm.adopted", f"{name} was found on {host.name} and adopted", obj=vm)
    publish("vm", vm.pk, "added", vm.rev, {"status": vm.status})
    return vm


def _attach(vm: VM, host: Host, spec: DiskSpec) -> None:
    """The file as a disk without a storage domain: Vireo shows it and never deletes it."""
    disk = None
    if spec.source:
        content = DiskContent.ISO if spec.device == "cdrom" else DiskContent.DATA
        name = (PurePosixPath(spec.source).name or spec.target)[:255]
        disk, _ = Disk.objects.get_or_create(
            path=spec.source[:1024], host=host, domain=None, defaults={"name": name, "content": content, "format": spec.format[:8]}
        )
    DiskAttachment.objects.create(
        vm=vm,
        disk=disk,
        device=spec.device if spec.device == "cdrom" else "disk",
        target=spec.target[:8],
        bus=spec.bus[:8],
        read_only=spec.readonly,
    )
