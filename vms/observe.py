"""The only writer of what is observed about VMs: status, host, guest facts. Called by the watcher, and by jobs with what they read.

Every change bumps `rev` and tells open browsers; what a person should know leaves an event.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from events.log import record as log_event
from events.models import Severity
from hosts.models import Host
from hypervisor.domain_state import DomainState
from hypervisor.domain_xml import Difference
from hypervisor.domains import DomainRecord
from hypervisor.events import DomainEvent
from hypervisor.guests import AgentInfo
from hypervisor.workbench import is_workbench
from jobs.models import Job
from portal.live import publish
from portal.names import plain
from vms import drift, states
from vms.adopt import adopt
from vms.ha import restarts
from vms.models import VM, VmOrigin, VmStatus

# Without a guest agent nobody tells when the guest has booted: after this long it is taken for up.
BOOT_SECONDS = 15
# A guest that was asked to shut down and still runs after this long ignored it.
SHUTDOWN_SECONDS = 90
_FACTS = (
    "status",
    "status_reason",
    "status_since",
    "host_id",
    "started_at",
    "rev",
    "guest_hostname",
    "guest_os",
    "guest_addresses",
    "sealed_at",
)
_RUNS = frozenset({VmStatus.UP, VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS, VmStatus.PAUSED, VmStatus.POWERING_DOWN})
# What a job did to a domain may be missing from a list that was read before; so long a removed VM's domain is not taken for a new one.
SETTLED_SECONDS = 30
_MAY_RUN = _RUNS | {VmStatus.UNKNOWN, VmStatus.NOT_RESPONDING, VmStatus.MIGRATING_FROM}
_BOOTING = frozenset({VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS})
# Events after which the host's own list must be read again.
_SYNC_KINDS = frozenset({"defined", "undefined"})
# Events that show that a VM runs on a host now, whatever we thought before.
_ARRIVALS = frozenset({"started", "resumed"})


def _locked(**filters: Any) -> list[VM]:
    """Rows to change, held until the transaction ends; in one order, so that no two writers wait for each other."""
    return list(VM.objects.select_for_update(of=("self",)).filter(**filters).order_by("pk"))


def _change(vm_id: UUID | str, change: Callable[[VM], bool]) -> None:
    """Applies `change` to the row as it is now, and writes it when `change` says so."""
    with transaction.atomic():
        _write([vm for vm in _locked(pk=vm_id) if change(vm)])


def on_domain_event(host: Host, event: DomainEvent) -> bool:
    """One event; see `on_domain_events`."""
    return on_domain_events(host, [event])


def on_domain_events(host: Host, events: Sequence[DomainEvent]) -> bool:
    """Applies events of one host in their order, in one transaction.

    Returns:
        True when the caller should read all of the host's domains: one was defined or undefined, is unknown to us, or has
        an error of a disk, whose reason the event does not carry.
    """
    ids = {event.uuid for event in events}
    with transaction.atomic():
        vms = {str(vm.pk): vm for vm in _locked(pk__in=ids)}
        changed: dict[str, VM] = {}
        sync = False
        for event in events:
            vm = vms.get(event.uuid)
            # Only the domain itself tells a full disk from a broken one.
            stuck = event.kind == "suspended" and event.detail == "ioerror"
            sync = sync or vm is None or stuck or event.kind in _SYNC_KINDS
            if vm is not None and _apply_event(host, vm, event):
                changed[event.uuid] = vm
        _write(changed.values())
    return sync


def _apply_event(host: Host, vm: VM, event: DomainEvent) -> bool:
    if event.kind == "agent" and "disconnect" not in event.detail:
        return vm.status in _BOOTING and _set(vm, VmStatus.UP, "", event.at)
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
    if status == VmStatus.DOWN and reason in states.UNASKED_ENDS and vm.status in _MAY_RUN:
        vm.ended_unasked = True  # type: ignore[attr-defined]  # until it is written
    if vm.status != status:
        vm.status_since = at
    if status in _RUNS and (vm.started_at is None or vm.status in (VmStatus.DOWN, VmStatus.IMAGE_LOCKED, VmStatus.SUSPENDED)):
        vm.started_at, vm.sealed_at = at, None
    if status == VmStatus.DOWN:
        vm.started_at, vm.guest_addresses, vm.guest_hostname, vm.guest_os = None, [], "", ""
    vm.status, vm.status_reason = status, reason
    return True


def _write(vms: Iterable[VM]) -> None:
    """Writes the observed columns, and only those: what was asked for is another's."""
    rows = list(vms)
    if not rows:
        return
    for vm in rows:
        vm.rev += 1
    VM.objects.bulk_update(rows, list(_FACTS), batch_size=200)
    for vm in rows:
        publish("vm", vm.pk, "changed", vm.rev, {"status": vm.status, "reason": vm.status_reason, "host_id": str(vm.host_id or "")})
    restarts.due([vm for vm in rows if getattr(vm, "ended_unasked", False)])


def record_seen(host: Host, record: DomainRecord, *, started: bool = False) -> None:
    """What a job read of one domain after its verb. The watcher's event may have said the same already.

    Args:
        started: the job has just started it, so a running domain is powering up.
    """

    def change(vm: VM) -> bool:
        before = VmStatus.POWERING_UP if started and vm.status not in _RUNS else vm.status
        status, reason = states.of_record(record, before)
        moved = vm.host_id != host.pk
        vm.host_id = host.pk
        return _set(vm, status, reason, timezone.now()) or moved

    _change(record.uuid, change)


def vanished(vm: VM) -> None:
    """A job found no domain any more: it was transient, or somebody removed it meanwhile."""
    _change(vm.pk, lambda row: _set(row, VmStatus.DOWN, "", timezone.now()))


def sync_host(host: Host, records: Sequence[DomainRecord], listed_at: datetime | None = None, newer: Collection[str] = ()) -> None:
    """Makes the rows equal to what the host has: states, domains that are new to us, domains that are gone, and what virsh changed.

    Args:
        listed_at: when the reading of `records` began; what jobs did since then is not in them.
        newer: ids of domains of which an event was heard since then: it knows better than `records`.
    """
    listed_at = listed_at or timezone.now()
    seen = {record.uuid: record for record in records if record.uuid not in newer and not is_workbench(record.name)}
    vms = {str(vm.pk): vm for vm in VM.objects.filter(pk__in=seen)}
    # Read first, and lock only what differs: in quiet times a sweep writes nothing.
    changed = [uuid for uuid, vm in vms.items() if _apply_record(host, vm, seen[uuid])]
    if changed:
        with transaction.atomic():
            _write([vm for vm in _locked(pk__in=changed) if _apply_record(host, vm, seen[str(vm.pk)])])
    unknown = seen.keys() - vms.keys()
    for uuid in unknown - _worked_on(unknown, listed_at - timedelta(seconds=SETTLED_SECONDS)):
        adopt(host, seen[uuid])
    _mark_missing(host, {*seen, *newer}, listed_at)
    _look_for_drift(host, [(vm, seen[uuid]) for uuid, vm in vms.items()], listed_at)


def _worked_on(ids: Iterable[str], since: datetime) -> set[str]:
    """Those of the VMs that a job is about, or was since then."""
    wanted = list(ids)
    if not wanted:
        return set()
    recent = Q(finished_at__isnull=True) | Q(finished_at__gte=since)
    return {
        str(key) for key in Job.objects.filter(recent, object_type=VM.OBJECT_TYPE, object_id__in=wanted).values_list("object_id", flat=True)
    }


def _look_for_drift(host: Host, pairs: Sequence[tuple[VM, DomainRecord]], listed_at: datetime) -> None:
    """Compares definitions with what was asked for; only those that changed since the last look."""
    fresh = drift.unseen(host, pairs)
    busy = _worked_on([str(vm.pk) for vm, _record in fresh], listed_at)
    for vm, differences in drift.compare(host, [pair for pair in fresh if str(pair[0].pk) not in busy]):
        drifted(vm, differences)


def drifted(vm: VM, differences: Sequence[Difference]) -> None:
    """How the domain's definition differs from what was asked for; nothing, after it was defined anew."""
    found = drift.as_json(differences)
    if vm.drift == found:
        return
    changed = VM.objects.filter(pk=vm.pk).exclude(drift=found).update(drift=found, rev=F("rev") + 1)
    vm.drift = found
    if changed:
        vm.rev += 1
        publish("vm", vm.pk, "changed", vm.rev, {"status": vm.status, "drift": bool(found)})
    if changed and found:
        names = ", ".join(entry["field"] for entry in found)
        log_event("vm.drift", f"{vm.name} was changed outside of Vireo: {names}", obj=vm, severity=Severity.WARNING)


def _apply_record(host: Host, vm: VM, record: DomainRecord) -> bool:
    status, reason = states.of_record(record, vm.status)
    if vm.host_id not in (None, host.pk) and record.state in (DomainState.SHUTOFF, DomainState.CRASHED):
        return False  # a definition left behind on a host that it moved away from
    if vm.host_id not in (None, host.pk) and record.state == DomainState.PAUSED:
        return False  # it is coming in, and runs where it was until it is resumed here
    if vm.status == VmStatus.IMAGE_LOCKED and status == VmStatus.DOWN:
        return False  # its job is not done
    if status == VmStatus.DOWN and vm.status == VmStatus.DOWN:
        reason = vm.status_reason if vm.status_reason != _missing_reason(host) else ""
    moved = vm.host_id != host.pk
    vm.host_id = host.pk
    return _set(vm, status, reason, timezone.now()) or moved


def _missing_reason(host: Host) -> str:
    return f"its domain was removed on {host.name} outside of Vireo; running it defines it again"


def _mark_missing(host: Host, present: set[str], listed_at: datetime) -> None:
    """VMs of this host whose domain it no longer has: adopted ones go, for they were never asked for here; ours stay, down."""
    known = VM.objects.filter(host=host).exclude(status=VmStatus.IMAGE_LOCKED).values_list("pk", flat=True)
    missing = {str(key) for key in known} - present
    missing -= _worked_on(missing, listed_at)
    if not missing:
        return
    with transaction.atomic():
        for vm in _locked(pk__in=missing, host=host):
            if vm.origin == VmOrigin.ADOPTED:
                forget(vm, f"{vm.name} was removed on {host.name} outside of Vireo")
            elif _set(vm, VmStatus.DOWN, _missing_reason(host), timezone.now()):
                _write([vm])
                log_event("vm.domain_missing", f"{vm.name}: {vm.status_reason}", obj=vm, severity=Severity.WARNING)


def host_lost(host: Host) -> None:
    """Nobody can say what runs there now. VMs that were down or suspended stay so: nothing but Vireo or the host itself starts them."""
    with transaction.atomic():
        known = set(VmStatus) - {VmStatus.DOWN, VmStatus.UNKNOWN, VmStatus.IMAGE_LOCKED, VmStatus.SUSPENDED}
        _write(
            [
                vm
                for vm in _locked(host=host, status__in=known)
                if _set(vm, VmStatus.UNKNOWN, f"{host.name} does not answer", timezone.now())
            ]
        )


def host_off(host: Host, reason: str) -> list[VM]:
    """The host is known to be off, so nothing runs there: its VMs are down. One whose memory is saved on its disk stays suspended.

    Returns:
        the VMs that ran there, or may have.
    """
    with transaction.atomic():
        at_rest = (VmStatus.DOWN, VmStatus.IMAGE_LOCKED, VmStatus.SUSPENDED)
        ended = [vm for vm in _locked(host=host) if vm.status not in at_rest and _set(vm, VmStatus.DOWN, reason, timezone.now())]
        _write(ended)
    return ended


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
        (_BOOTING, BOOT_SECONDS),
        (frozenset({VmStatus.POWERING_DOWN}), SHUTDOWN_SECONDS),
    )
    for statuses, seconds in rules:
        limit = now - timedelta(seconds=seconds)
        # Read first: this runs every few seconds, and mostly finds nothing to lock.
        late = VM.objects.filter(status__in=statuses, status_since__lt=limit, host__status="up").values_list("pk", flat=True)
        if ids := list(late):
            with transaction.atomic():
                due = _locked(pk__in=ids, status__in=statuses, status_since__lt=limit)
                _write([vm for vm in due if _set(vm, VmStatus.UP, "", now)])


def agent_seen(vm_id: UUID | str, info: AgentInfo) -> None:
    """What the guest says about itself. The guest is hostile: what cannot be seen goes, lengths are bounded here, and pages escape."""
    addresses = [plain(str(address))[:64] for address in info.addresses][:32]
    values = {"guest_hostname": plain(info.hostname)[:255], "guest_os": plain(info.os)[:255], "guest_addresses": addresses}

    def is_news(vm: VM) -> bool:
        return vm.status in _BOOTING or any(getattr(vm, name) != value for name, value in values.items())

    def change(vm: VM) -> bool:
        if vm.status not in _RUNS or not is_news(vm):
            return False  # the answer is older than its end
        if vm.status in _BOOTING:
            _set(vm, VmStatus.UP, "", timezone.now())
        for name, value in values.items():
            setattr(vm, name, value)
        return True

    vm = VM.objects.filter(pk=vm_id).first()
    if vm is not None and is_news(vm):
        _change(vm_id, change)


def powering_down(vm: VM) -> None:
    """A shutdown was asked of the guest and libvirt took it."""
    _change(vm.pk, lambda row: row.status in _RUNS and _set(row, VmStatus.POWERING_DOWN, "", timezone.now()))


def shutdown_ignored(vm: VM) -> None:
    """The guest was given its time and still runs."""
    _change(vm.pk, lambda row: row.status == VmStatus.POWERING_DOWN and _set(row, VmStatus.UP, "", timezone.now()))


def placed(vm: VM, host: Host) -> None:
    """A job has chosen the host."""
    VM.objects.filter(pk=vm.pk).update(host=host, rev=F("rev") + 1)
    vm.host = host


def migrating(vm: VM) -> None:
    """A job moves it; where it runs is its source until the target says otherwise."""
    _change(vm.pk, lambda row: row.status in _RUNS and _set(row, VmStatus.MIGRATING_FROM, "", timezone.now()))


def migrated(vm: VM, host: Host) -> None:
    """A job has seen it run there: after a move, or because it did not come about."""

    def change(row: VM) -> bool:
        moved = row.host_id != host.pk
        row.host_id = host.pk
        return (row.status == VmStatus.MIGRATING_FROM and _set(row, VmStatus.UP, "", timezone.now())) or moved

    _change(vm.pk, change)


def created(vm: VM) -> None:
    """Its disks and domain exist: the row leaves `image_locked`."""
    _change(vm.pk, lambda row: row.status == VmStatus.IMAGE_LOCKED and _set(row, VmStatus.DOWN, "", timezone.now()))


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
