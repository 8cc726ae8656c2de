"""The only writer of what is observed about storage: each domain as each host sees it, its space, and whether disks are there."""

from typing import Any

from django.db import transaction
from django.db.models import F, Max, Sum
from django.utils import timezone

from accounts.models import Grant
from events.log import record
from events.models import Severity
from hosts.models import Host, HostStatus
from hypervisor.storage import PoolInfo
from portal.live import publish
from storage.models import Disk, DiskStatus, StorageDomain, StorageDomainHost, StorageStatus

# A domain in one of these is out of use on purpose: what a host sees does not bring it back.
_RESTING = (StorageStatus.UNATTACHED, StorageStatus.MAINTENANCE, StorageStatus.PREPARING_FOR_MAINTENANCE)


def seen(domain: StorageDomain, host: Host, info: PoolInfo) -> None:
    """The host has the domain, with this space."""
    values = {
        "status": StorageStatus.ACTIVE if info.active else StorageStatus.INACTIVE,
        "status_reason": "" if info.active else f"its pool is stopped on {host.name}",
    }
    _on_host(domain, host, capacity_bytes=info.capacity, available_bytes=info.available, **values)


def failed(domain: StorageDomain, host: Host, reason: str) -> None:
    """The host cannot use the domain."""
    _on_host(domain, host, status=StorageStatus.INACTIVE, status_reason=reason[:2000])


def forgotten(domain: StorageDomain, host: Host) -> None:
    """The host no longer has the domain."""
    StorageDomainHost.objects.filter(domain=domain, host=host).delete()
    summarize(domain)


def host_lost(host: Host) -> None:
    """The host does not answer: what it last said about its domains no longer counts."""
    for view in StorageDomainHost.objects.filter(host=host).select_related("domain"):
        summarize(view.domain)


def summarize(domain: StorageDomain) -> None:
    """The domain's own status and space, from what its hosts say.

    A shared directory has the space that any host sees; local directories add up. Hosts that do not answer say nothing.
    """
    with transaction.atomic():
        current = StorageDomain.objects.select_for_update().get(pk=domain.pk)
        views = StorageDomainHost.objects.filter(domain=domain)
        active = views.filter(
            status=StorageStatus.ACTIVE, host__status__in=(HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.INSTALLING)
        )
        combine = Max if current.is_shared else Sum
        space = active.aggregate(capacity=combine("capacity_bytes"), available=combine("available_bytes"))
        broken = views.filter(status=StorageStatus.INACTIVE).select_related("host").first()
        if space["capacity"] is not None:
            status, reason = StorageStatus.ACTIVE, f"not on {broken.host.name}: {broken.status_reason}" if broken else ""
        elif broken:
            status, reason = StorageStatus.INACTIVE, broken.status_reason
        else:
            status, reason = StorageStatus.UNKNOWN, "no host that is up has it"
        values: dict[str, Any] = {}
        if current.status not in _RESTING:
            values |= {"status": status, "status_reason": reason}
        if space["capacity"] is not None:
            values |= {"capacity_bytes": space["capacity"], "available_bytes": space["available"]}
        _write(current, values)


def set_status(domain: StorageDomain, status: StorageStatus, reason: str = "") -> None:
    """What a job says: activating, maintenance, inactive with the reason of its failure."""
    _write(StorageDomain.objects.get(pk=domain.pk), {"status": status, "status_reason": reason})


def removed(domain: StorageDomain, user: Any, job: Any) -> None:
    """Every host has let go of the domain: the row goes."""
    record("storage_domain.removed", f"Storage domain {domain.name} was removed", obj=domain, user=user, job=job)
    key = domain.pk
    domain.delete()
    publish("storage_domain", key, "removed")


def disk_ready(disk: Disk, path: str, allocated_bytes: int) -> None:
    """The disk's volume exists, complete."""
    _disk(disk, {"path": path, "allocated_bytes": allocated_bytes, "status": DiskStatus.OK})


def disk_status(disk: Disk, status: DiskStatus) -> None:
    _disk(disk, {"status": status})


def disk_removed(disk: Disk, user: Any, job: Any) -> None:
    """The disk's volume is gone: the row goes."""
    record("disk.removed", f"Disk {disk.name} was removed", obj=disk, user=user, job=job)
    key = disk.pk
    disk.delete()
    Grant.objects.filter(object_type="disk", object_id=key).delete()
    publish("disk", key, "removed")


def _on_host(domain: StorageDomain, host: Host, **values: Any) -> None:
    StorageDomainHost.objects.update_or_create(domain=domain, host=host, defaults={**values, "checked_at": timezone.now()})
    summarize(domain)


def _write(current: StorageDomain, values: dict[str, Any]) -> None:
    changed = {name: value for name, value in values.items() if getattr(current, name) != value}
    if not changed:
        return
    StorageDomain.objects.filter(pk=current.pk).update(rev=F("rev") + 1, **changed)
    current.refresh_from_db()
    publish("storage_domain", current.pk, "changed", current.rev, {"status": current.status, "reason": current.status_reason})
    if changed.get("status") in (StorageStatus.INACTIVE, StorageStatus.UNKNOWN):
        text = f"Storage domain {current.name} is {current.get_status_display().lower()}: {current.status_reason}"
        record(f"storage_domain.{current.status}", text, obj=current, severity=Severity.WARNING)


def _disk(disk: Disk, values: dict[str, Any]) -> None:
    Disk.objects.filter(pk=disk.pk).update(rev=F("rev") + 1, **values)
    disk.refresh_from_db()
    publish("disk", disk.pk, "changed", disk.rev, {"status": disk.status})
