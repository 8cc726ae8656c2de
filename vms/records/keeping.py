"""Writes the VMs of each domain down on it, as often as something of them has changed."""

import io
import logging
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Prefetch, Q
from django.utils import timezone

from hosts.connect import link_of
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, HypervisorError, NotFound
from hypervisor.links import HostLink
from hypervisor.spec import VolumeSpec
from storage import on_host
from storage.kinds import KINDS
from storage.models import DiskContent, StorageDomain, StorageStatus
from vms.models import VM, DiskAttachment
from vms.records import manifest
from vms.records.manifest import DiskRecord, NicRecord, VmRecord
from vms.records.models import RecordsKept
from vms.records.volumes import volume_of

log = logging.getLogger(__name__)

# Kinds that records can be written to: libvirt writes into files alone. Local ones keep none, for hosts keep the definitions.
KEEPING = tuple(key for key, kind in KINDS.items() if kind.shared and kind.files)
CLAIM = timedelta(minutes=10)
_BLOCK = 1 << 20


def sweep() -> None:
    """Each active domain that keeps records, once."""
    for domain in StorageDomain.objects.filter(kind__in=KEEPING, status=StorageStatus.ACTIVE):
        try:
            keep(domain)
        except HypervisorError as error:
            log.warning("the records on %s were not written: %s", domain.name, error)
            RecordsKept.objects.filter(pk=domain.pk).update(error=str(error), claimed_at=None)
        except Exception:
            log.exception("the records on %s were not written", domain.name)  # those of the others are


def keep(domain: StorageDomain) -> bool:
    """Writes what has changed since the last time, if nobody else does. Says whether it wrote.

    Raises:
        HypervisorError
    """
    if domain.kind not in KEEPING:
        return False
    vms = records_of(domain)
    data = manifest.encode(vms)
    digest = manifest.digest_of(data)
    kept, _made = RecordsKept.objects.get_or_create(domain=domain)
    if kept.digest == digest or (not vms and not kept.serial):
        return False
    hosts = on_host.hosts_with(domain)
    if not hosts or not _claim(kept):
        return False
    kept.refresh_from_db()
    link, serial = link_of(hosts[0]), kept.serial + 1
    if vms:
        _write(link, domain, serial, data)
    _drop(link, domain, kept.serial)
    RecordsKept.objects.filter(pk=domain.pk).update(
        serial=serial, digest=digest, vms=len(vms), written_at=timezone.now(), claimed_at=None, error=""
    )
    return True


def _claim(kept: RecordsKept) -> bool:
    """One at a time; who died over it is followed by another after a while."""
    now = timezone.now()
    free = RecordsKept.objects.filter(Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM), pk=kept.pk)
    return free.update(claimed_at=now) == 1


def _write(link: HostLink, domain: StorageDomain, serial: int, data: bytes) -> None:
    """Beside what is there: half a manifest never takes the place of a whole one."""
    name = volume_of(domain.pk, serial)
    spec = VolumeSpec(name, -(-len(data) // _BLOCK) * _BLOCK, "raw")
    try:
        pools.create_volume(link, domain.pool_name, spec)
    except AlreadyExists:  # by one who died before saying so
        pools.delete_volume(link, domain.pool_name, name)
        pools.create_volume(link, domain.pool_name, spec)
    pools.upload(link, domain.pool_name, name, io.BytesIO(data), len(data))


def _drop(link: HostLink, domain: StorageDomain, serial: int) -> None:
    if serial:
        try:
            pools.delete_volume(link, domain.pool_name, volume_of(domain.pk, serial))
        except NotFound:
            return


def records_of(domain: StorageDomain) -> list[VmRecord]:
    """The VMs with a disk here. In the order of their ids, so that the same VMs always read the same."""
    disks = DiskAttachment.objects.select_related("disk").order_by("target")
    vms = VM.objects.filter(attachments__disk__domain=domain).distinct().select_related("cluster").order_by("pk")
    return list(_described(vms.prefetch_related(Prefetch("attachments", disks), "nics__network")))


def _described(vms: Iterable[VM]) -> Iterable[VmRecord]:
    for vm in vms:
        slots = [each for each in vm.attachments.all() if each.device == "disk" and each.disk is not None]
        ours = [each for each in slots if each.disk and each.disk.content == DiskContent.DATA]
        # Half of a VM is of no use: one with a disk that is none of Vireo's is adopted from its host instead.
        if ours and all(each.disk and each.disk.domain_id for each in ours):
            yield _record(vm, ours)


def _record(vm: VM, slots: list[DiskAttachment]) -> VmRecord:
    return VmRecord.model_construct(
        **{name: getattr(vm, name) for name in _PLAIN},
        kernel=bool(vm.kernel),
        cluster=vm.cluster.name,
        drives=[each.target for each in vm.attachments.all() if each.device == "cdrom"],
        disks=[_disk(each) for each in slots],
        nics=[
            NicRecord.model_construct(
                name=nic.name, mac=nic.mac, network=nic.network.name if nic.network else "", model=nic.model, linked=nic.linked
            )
            for nic in vm.nics.all()
        ],
    )


_PLAIN = (
    *("id", "name", "description", "memory_mib", "vcpus", "firmware", "os", "tags"),
    *("delete_protected", "highly_available", "restart_by_lease", "priority"),
)


def _disk(slot: DiskAttachment) -> DiskRecord:
    assert slot.disk is not None and slot.disk.domain_id is not None
    return DiskRecord.model_construct(
        id=slot.disk.pk,
        name=slot.disk.name,
        domain=slot.disk.domain_id,
        volume=slot.disk.volume_name,
        target=slot.target,
        bus=slot.bus,
        read_only=slot.read_only,
        shareable=slot.disk.shareable,
        io_iops=slot.io_iops,
        io_bytes=slot.io_bytes,
    )
