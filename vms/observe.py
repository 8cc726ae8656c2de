"""The only writer of what is observed about VMs: status, host, guest facts. Called by the watcher, and by jobs with what they read.

Every change bumps `rev` and tells open browsers; what a person should know leaves an event.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from events.log import record as log_event
from events.models import Severity
from hosts.models import Host
from hypervisor.domain_state import DomainState
from hypervisor.domains import DomainRecord
from hypervisor.events import DomainEvent
from hypervisor.guests import AgentInfo
from portal.live import publish
from vms import states
from vms.adopt import adopt
from vms.models import VM, VmOrigin, VmStatus

# Without a guest agent nobody tells when the guest has booted: after this long it is taken for up.
BOOT_SECONDS = 15
# A guest that was asked to shut down and still runs after this long ignored it.
SHUTDOWN_SECONDS = 90
_FACTS = ("status", "status_reason", "status_since", "host_id", "started_at", "rev", "guest_hostname", "guest_os", "guest_addresses")
_RUNS = frozenset({VmStatus.UP, VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS, VmStatus.PAUSED, VmStatus.POWERING_DOWN})
# Events after which the host's own list must be read again.
_SYNC_KINDS = frozenset({"defined", "undefined"})
# Events that show that a VM runs on a host now, whatever we thought before.
_ARRIVALS = frozenset({"started", "resumed"})


def on_domain_event(host: Host, event: DomainEvent) -> bool:
    """One event; see `on_domain_events`."""
    return on_domain_events(host, [event])


def on_domain_events(host: Host, events: Sequence[DomainEvent]) -> bool:
    """Applies events of one host in their order, in one transaction.

    Returns:
        True when the caller should read all of the host's domains: one was defined or undefined, or is unknown to us.
    """
    ids = {event.uuid for event in events}
    with transaction.atomic():
        vms = {str(vm.pk): vm for vm in VM.objects.filter(pk__in=ids).only("name", "template_id", *_FACTS)}
        changed: dict[str, VM] = {}
        sync = False
        for event in events:
            vm = vms.get(event.uuid)
            sync = sync or vm is None or event.kind in _SYNC_KINDS
            if vm is not None and _apply_event(host, vm, event):
                changed[event.uuid] = vm
        _write(changed.values())
    return sync


def _apply_event(host: Host, vm: VM, event: DomainEvent) -> bool:
    if event.kind == "agent" and "disconnect" not in event.detail:
        return vm.status in (VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS) and _set(vm, VmStatus.UP, "", event.at)
    found = states.of_event(event.kind, event.detail)
    if found is None:
        return False
    status, reason = found
    if vm.host_id not in (None, host.pk) and event.kind not in _ARRIVALS:
        return False  # of a stale copy elsewhere, or late word of the host that it left
    if vm.status == VmStatus.IMAGE_LOCKED and status == VmStatus.DOWN:
        return False
    moved = vm.host_id != host.pk
    vm.host_id = host.pk
    return _set(vm, status, reason, event.at) or moved


def _set(vm: VM, status: VmStatus, reason: str, at: datetime) -> bool:
    """Changes the row in memory. False when it says so already."""
    if vm.status == status and vm.status_reason == reason:
        return False
    if vm.status != status:
        vm.status_since = at
    if status in _RUNS and (vm.started_at is None or vm.status in (VmStatus.DOWN, VmStatus.IMAGE_LOCKED, VmStatus.SUSPENDED)):
        vm.started_at = at
    if status == VmStatus.DOWN:
        vm.started_at, vm.guest_addresses, vm.guest_hostname, vm.guest_os = None, [], "", ""
    vm.status, vm.status_reason = status, reason
    return True


def _write(vms: Iterable[VM]) -> None:
    """Writes the observed columns, and only those: what was asked for is another's."""
    rows = list(vms)
    for vm in rows:
        vm.rev += 1
    VM.objects.bulk_update(rows, list(_FACTS), batch_size=200)
    for vm in rows:
        publish("vm", vm.pk, "changed", vm.rev, {"status": vm.status, "reason": vm.status_reason, "host_id": str(vm.host_id or "")})


def record_seen(host: Host, record: DomainRecord, *, started: bool = False) -> None:
    """What a job read of one domain after its verb. The watcher's event may have said the same already.

    Args:
        started: the job has just started it, so a running domain is powering up.
    """
    with transaction.atomic():
        vm = VM.objects.select_for_update().filter(pk=record.uuid).first()
        if vm is None:
            return
        before = VmStatus.POWERING_UP if started and vm.status not in _RUNS else vm.status
        status, reason = states.of_record(record, before)
        moved = vm.host_id != host.pk
        vm.host_id = host.pk
        if _set(vm, status, reason, timezone.now()) or moved:
            _write([vm])


def sync_host(host: Host, records: Sequence[DomainRecord]) -> None:
    """Makes the rows equal to what the host has: states, domains that are new to us, domains that are gone."""
    with transaction.atomic():
        vms = {str(vm.pk): vm for vm in VM.objects.filter(pk__in=[record.uuid for record in records])}
        changed = [vm for record in records if (vm := vms.get(record.uuid)) is not None and _apply_record(host, vm, record)]
        _write(changed)
    for record in records:
        if record.uuid not in vms:
            adopt(host, record)
    _mark_missing(host, {record.uuid for record in records})


def _apply_record(host: Host, vm: VM, record: DomainRecord) -> bool:
    status, reason = states.of_record(record, vm.status)
    if vm.host_id not in (None, host.pk) and record.state in (DomainState.SHUTOFF, DomainState.CRASHED):
        return False  # a definition left behind on a host that it moved away from
    if vm.status == VmStatus.IMAGE_LOCKED and status == VmStatus.DOWN:
        return False  # its job is not done
    if status == VmStatus.DOWN and vm.status == VmStatus.DOWN:
        reason = vm.status_reason if vm.status_reason != _missing_reason(host) else ""
    moved = vm.host_id != host.pk
    vm.host_id = host.pk
    return _set(vm, status, reason, timezone.now()) or moved


def _missing_reason(host: Host) -> str:
    return f"its domain was removed on {host.name} outside of Vireo; running it defines it again"


def _mark_missing(host: Host, present: set[str]) -> None:
    """VMs of this host whose domain it no longer has: adopted ones go, for they were never asked for here; ours stay, down."""
    for vm in VM.objects.filter(host=host).exclude(status=VmStatus.IMAGE_LOCKED):
        if str(vm.pk) in present or _is_locked(vm):
            continue
        if vm.origin == VmOrigin.ADOPTED:
            forget(vm, f"{vm.name} was removed on {host.name} outside of Vireo")
        elif _set(vm, VmStatus.DOWN, _missing_reason(host), timezone.now()):
            _write([vm])
            log_event("vm.domain_missing", f"{vm.name}: {vm.status_reason}", obj=vm, severity=Severity.WARNING)


def _is_locked(vm: VM) -> bool:
    from jobs.engine import holder_of

    return holder_of(vm) is not None


def host_lost(host: Host) -> None:
    """Nobody can say what runs there now. VMs that were down stay down: nothing but Vireo or the host itself starts them."""
    with transaction.atomic():
        vms = list(VM.objects.filter(host=host).exclude(status__in=(VmStatus.DOWN, VmStatus.UNKNOWN, VmStatus.IMAGE_LOCKED)))
        _write([vm for vm in vms if _set(vm, VmStatus.UNKNOWN, f"{host.name} does not answer", timezone.now())])


def host_removed(host: Host) -> None:
    """The host leaves: adopted VMs go with it (their domains stay there), ours lose their place."""
    for vm in VM.objects.filter(host=host):
        if vm.origin == VmOrigin.ADOPTED:
            forget(vm, f"{vm.name} left with its host {host.name}")
        else:
            vm.host_id = None
            _write([vm])


def settle(now: datetime | None = None) -> None:
    """What no event will say: a guest without an agent has booted by now; one that ignored its shutdown goes on running."""
    now = now or timezone.now()
    rules = (
        ((VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS), BOOT_SECONDS),
        ((VmStatus.POWERING_DOWN,), SHUTDOWN_SECONDS),
    )
    with transaction.atomic():
        for statuses, seconds in rules:
            due = VM.objects.filter(status__in=statuses, status_since__lt=now - timedelta(seconds=seconds), host__status="up")
            _write([vm for vm in due if _set(vm, VmStatus.UP, "", now)])


def agent_seen(vm_id: UUID | str, info: AgentInfo) -> None:
    """What the guest says about itself. The guest is hostile: lengths are bounded here, and pages escape."""
    addresses = [str(address)[:64] for address in info.addresses][:32]
    values = {"guest_hostname": info.hostname[:255], "guest_os": info.os[:255], "guest_addresses": addresses}
    vm = VM.objects.filter(pk=vm_id).first()
    if vm is None:
        return
    if vm.status in (VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS):
        _set(vm, VmStatus.UP, "", timezone.now())
    elif all(getattr(vm, name) == value for name, value in values.items()):
        return
    for name, value in values.items():
        setattr(vm, name, value)
    _write([vm])


def powering_down(vm: VM) -> None:
    """A shutdown was asked of the guest and libvirt took it."""
    if _set(vm, VmStatus.POWERING_DOWN, "", timezone.now()):
        _write([vm])


def shutdown_ignored(vm: VM) -> None:
    vm.refresh_from_db()
    if vm.status == VmStatus.POWERING_DOWN and _set(vm, VmStatus.UP, "", timezone.now()):
        _write([vm])


def placed(vm: VM, host: Host) -> None:
    """A job has chosen the host."""
    VM.objects.filter(pk=vm.pk).update(host=host, rev=F("rev") + 1)
    vm.host = host


def created(vm: VM) -> None:
    """Its disks and domain exist: the row leaves `image_locked`."""
    vm.refresh_from_db()
    if vm.status == VmStatus.IMAGE_LOCKED and _set(vm, VmStatus.DOWN, "", timezone.now()):
        _write([vm])


def forget(vm: VM, message: str, user: Any = None, job: Any = None) -> None:
    """The VM is gone: its row, its grants and the foreign disks that came with it."""
    from accounts.models import Grant
    from storage.models import Disk

    with transaction.atomic():
        log_event("vm.removed", message, obj=vm, user=user, job=job)
        foreign = list(Disk.objects.filter(attachments__vm=vm, domain__isnull=True).values_list("pk", flat=True))
        Grant.objects.filter(object_type="vm", object_id=vm.pk).delete()
        key = vm.pk
        vm.attachments.all().delete()
        VM.objects.filter(pk=key).delete()
        Disk.objects.filter(pk__in=foreign, attachments__isnull=True).delete()
        publish("vm", key, "removed")
