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
from portal.templatetags.vireo import size
from storage.models import Disk, DiskStatus, SpaceLevel, StorageDomain, StorageDomainHost, StorageStatus
from storage.space import MOST, level_of

# A domain in one of these is out of use on purpose: what a host sees does not bring it back.
_RESTING = (StorageStatus.UNATTACHED, StorageStatus.MAINTENANCE, StorageStatus.PREPARING_FOR_MAINTENANCE)


def seen(domain: StorageDomain, host: Host, info: PoolInfo) -> None:
    """The host has the domain, with this space."""
    values = {
        "status": StorageStatus.ACTIVE if info.active else StorageStatus.INACTIVE,
        "status_reason": "" if info.active else f"its pool is stopped on {host.name}",
    }
    _on_host(domain, host, capacity_bytes=min(info.capacity, MOST), available_bytes=min(info.available, MOST), **values)


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
        broken = list(views.filter(status=StorageStatus.INACTIVE).select_related("host").order_by("host__name"))
        if space["capacity"] is not None:
            status, reason = StorageStatus.ACTIVE, _missing(broken)
        elif broken:
            status, reason = StorageStatus.INACTIVE, broken[0].status_reason
        else:
            status, reason = StorageStatus.UNKNOWN, "no host that is up has it"
        values: dict[str, Any] = {}
        if current.status not in _RESTING:
            values |= {"status": status, "status_reason": reason}
        if space["capacity"] is not None:
            values |= {"capacity_bytes": space["capacity"], "available_bytes": space["available"]}
            values["space_level"] = level_of(current, space["capacity"], space["available"])
        _write(current, values)


def _missing(broken: list[StorageDomainHost]) -> str:
    """Names the hosts that cannot use a domain that others can."""
    if not broken:
        return ""
    names = ", ".join(view.host.name for view in broken[:5])
    more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
    return f"not on {names}{more}: {broken[0].status_reason}"


def set_status(domain: StorageDomain, status: StorageStatus, reason: str = "") -> None:
    """What a job says: activating, maintenance, inactive with the reason of its failure."""
    _write(StorageDomain.objects.get(pk=domain.pk), {"status": status, "status_reason": reason})


def locks_tried(domain: StorageDomain, hold: bool) -> None:
    """Whether a file that one host had open was refused to the others."""
    _write(StorageDomain.objects.get(pk=domain.pk), {"locks_hold": hold})


def removed(domain: StorageDomain, user: Any, job: Any) -> None:
    """Every host has let go of the domain: the row goes."""
    record("storage_domain.removed", f"Storage domain {domain.name} was removed", obj=domain, user=user, job=job)
    key = domain.pk
    domain.delete()
    publish("storage_domain", key, "removed")


def destroyed(domain: StorageDomain, user: Any, job: Any) -> None:
    """The storage is lost: its disks are forgotten, taken from the VMs that had them, and templates go with theirs."""
    from vms.models import Template

    with transaction.atomic():
        disks = Disk.objects.filter(domain=domain)
        names = list(disks.order_by("name").values_list("name", flat=True)[:20])
        for template in Template.objects.filter(disks__domain=domain).distinct():
            record(
                "template.removed", f"Template {template.name} was lost with storage domain {domain.name}", obj=template, user=user, job=job
            )
            template.delete()
        for disk in disks.prefetch_related("attachments"):
            disk.attachments.all().delete()
        Disk.objects.filter(backing__domain=domain).update(backing=None)
        count = disks.count()
        disks.delete()
        text = f"Storage domain {domain.name} was destroyed, and with it {count} disk{'' if count == 1 else 's'}"
        record(
            "storage_domain.destroyed",
            f"{text}: {', '.join(names)}" if names else text,
            obj=domain,
            user=user,
            job=job,
            severity=Severity.WARNING,
        )
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
    before = current.status, current.status_reason, current.space_level
    StorageDomain.objects.filter(pk=current.pk).update(rev=F("rev") + 1, **changed)
    current.refresh_from_db()
    publish("storage_domain", current.pk, "changed", current.rev, {"status": current.status, "reason": current.status_reason})
    _tell_status(current, *before[:2])
    if current.space_level != before[2]:
        _tell_space(current)


def _tell_status(domain: StorageDomain, status: str, reason: str) -> None:
    """Events for a change for the worse, and back; a warning that names a host is one, too."""
    if domain.status != status and domain.status in (StorageStatus.INACTIVE, StorageStatus.UNKNOWN):
        text = f"Storage domain {domain.name} is {domain.get_status_display().lower()}: {domain.status_reason}"
        record(f"storage_domain.{domain.status}", text, obj=domain, severity=Severity.WARNING)
    elif domain.status == StorageStatus.ACTIVE and status in (StorageStatus.INACTIVE, StorageStatus.UNKNOWN):
        record("storage_domain.active", f"Storage domain {domain.name} is active again", obj=domain)
    elif domain.status == StorageStatus.ACTIVE and domain.status_reason and _hosts_named(domain.status_reason) != _hosts_named(reason):
        record("storage_domain.partial", f"Storage domain {domain.name} is {domain.status_reason}", obj=domain, severity=Severity.WARNING)


def _hosts_named(reason: str) -> str:
    """Of a warning, what stays the same while the words of the failure change."""
    return reason.partition(":")[0] if reason.startswith("not on ") else ""


def _tell_space(domain: StorageDomain) -> None:
    left = f"{size(domain.available_bytes)} of {size(domain.capacity_bytes)} are free"
    match domain.space_level:
        case SpaceLevel.OK:
            record("storage_domain.space_ok", f"Storage domain {domain.name} has space again: {left}", obj=domain)
        case SpaceLevel.LOW:
            record(
                "storage_domain.space_low", f"Storage domain {domain.name} is low on space: {left}", obj=domain, severity=Severity.WARNING
            )
        case SpaceLevel.CRITICAL:
            text = f"Storage domain {domain.name} is out of space, and takes no new disks: {left}"
            record("storage_domain.space_critical", text, obj=domain, severity=Severity.ERROR)


def _disk(disk: Disk, values: dict[str, Any]) -> None:
    Disk.objects.filter(pk=disk.pk).update(rev=F("rev") + 1, **values)
    disk.refresh_from_db()
    publish("disk", disk.pk, "changed", disk.rev, {"status": disk.status})
