"""What can be done with a VM's snapshots now, and why not. Pages, the API and services all ask here. No queries: see `facts_of`."""

from dataclasses import dataclass, field

from django.conf import settings

from hosts.models import HostStatus
from jobs.engine import holder_of
from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no
from storage.models import DiskStatus
from vms.models import VM, DiskAttachment, VmOrigin, VmStatus
from vms.snapshots import machine, rows
from vms.snapshots.models import Position, Snapshot, SnapshotStatus

_RUNS = frozenset({VmStatus.UP, VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS, VmStatus.POWERING_DOWN, VmStatus.PAUSED})
_CALM = _RUNS | {VmStatus.DOWN}
PERMISSION = "vm.snapshot"

# On the VM.
VM_ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("take", "Take snapshot", "camera", PERMISSION, _CALM),
        Action("commit", "Keep this state", "check", PERMISSION, _CALM),
        Action("undo", "Return to the state before", "arrow-back-up", PERMISSION, _CALM),
    )
}
# On one snapshot.
ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("preview", "Preview…", "eye", PERMISSION, _CALM, "go"),
        Action("revert", "Revert…", "restore", PERMISSION, _CALM, "go"),
        Action("clone", "Clone…", "copy", "vm.edit", group="make"),
        Action("template", "Make template…", "template", "vm.edit", group="make"),
        Action("edit", "Edit", "pencil", PERMISSION, group="change"),
        Action("delete", "Delete", "trash", PERMISSION, _CALM, "remove", danger=True),
    )
}


@dataclass(frozen=True)
class Facts:
    """What the verdicts depend on, read once."""

    vm: VM
    position: Position
    count: int
    disks: list[DiskAttachment]
    busy: Job | None
    snapshots: list[Snapshot] = field(default_factory=list)
    shared: frozenset[object] = frozenset()


def facts_of(vm: VM) -> Facts:
    """Reads what `check` wants to know."""
    found = list(rows.snapshots_of(vm))
    disks = rows.attachments(vm)
    ids = [each.disk_id for each in disks]
    others = DiskAttachment.objects.filter(disk_id__in=ids).exclude(vm=vm).values_list("disk_id", flat=True)
    return Facts(vm, rows.position_of(vm), len(found), disks, holder_of(vm), found, frozenset(others))


def check(action: str, facts: Facts, snapshot: Snapshot | None = None) -> Verdict:
    """Whether the action of VM_ACTIONS, or of ACTIONS on this snapshot, is possible."""
    known = VM_ACTIONS.get(action) or ACTIONS[action]
    vm = facts.vm
    if action == "edit":
        return YES
    if action in ("clone", "template"):
        return _whole(snapshot)
    if facts.busy is not None:
        return no(f"{vm.name} is busy: «{facts.busy.title}» runs.")
    if vm.status not in known.states:
        return no(_status_reason(vm))
    for verdict in (_storage_can(facts), _host_can(vm), _preview_allows(action, facts)):
        if not verdict:
            return verdict
    if action == "take" and facts.count >= settings.SNAPSHOTS_PER_VM:
        return no(f"{vm.name} has {facts.count} snapshots, which is the most that a VM can have: delete one first.")
    if action in ("preview", "revert"):
        return _can_return(facts, snapshot)
    if action == "delete" and snapshot is not None and snapshot.status == SnapshotStatus.TAKING:
        return no(f"{snapshot.name} is being taken.")
    return YES


def _status_reason(vm: VM) -> str:
    if vm.status == VmStatus.SUSPENDED:
        return f"{vm.name} is suspended: its memory belongs to its disks as they are. Run it first."
    if vm.status == VmStatus.UNKNOWN:
        return f"{vm.host.name if vm.host else 'Its host'} does not answer."
    return f"{vm.name} is {vm.get_status_display().lower()}."


def _storage_can(facts: Facts) -> Verdict:
    if facts.vm.origin == VmOrigin.ADOPTED:
        return no(f"{facts.vm.name} was adopted: its disks lie outside of Vireo's storage domains.")
    if not facts.disks:
        return no(f"{facts.vm.name} has no disk of its own: there is nothing to take a snapshot of.")
    for attachment in facts.disks:
        disk = attachment.disk
        assert disk is not None
        if disk.domain is None:
            return no(f"{disk.name} lies in no storage domain of Vireo's.")
        if not disk.domain.traits.files:
            kind = disk.domain.get_kind_display()
            return no(f"{disk.name} lies on {disk.domain.name} ({kind}), whose disks are no files: Vireo cannot lay layers over them.")
        if disk.status != DiskStatus.OK:
            return no(f"{disk.name} is {disk.get_status_display().lower()}.")
        if disk.pk in facts.shared:
            return no(f"{disk.name} is shared with another VM, which would not know of the snapshot.")
    return YES


def _host_can(vm: VM) -> Verdict:
    host = vm.host
    if host is None:
        return no(f"{vm.name} is on no host yet: run it once first.")
    if host.status not in (HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.PREPARING_FOR_MAINTENANCE):
        return no(f"Its host {host.name} is {host.get_status_display().lower()}.")
    if "snapshots" not in host.capabilities.get("features", ()) or host.driver.lower() == "test":
        return no(f"The driver of {host.name} ({host.driver or 'unknown'}) cannot do this.")
    return YES


def _preview_allows(action: str, facts: Facts) -> Verdict:
    preview = facts.position.preview
    if action in ("commit", "undo"):
        return YES if preview is not None else no(f"{facts.vm.name} is in no preview.")
    if preview is not None:
        return no(f"{facts.vm.name} is in a preview of {preview.name}: keep this state, or return to the one before, first.")
    return YES


def _whole(snapshot: Snapshot | None) -> Verdict:
    if snapshot is None or snapshot.status == SnapshotStatus.OK:
        return YES
    if snapshot.status == SnapshotStatus.BROKEN:
        return no(f"{snapshot.name} lost a disk when its deletion was stopped: it can only be deleted.")
    return no(f"{snapshot.name} is {'being taken' if snapshot.status == SnapshotStatus.TAKING else 'being deleted'}.")


def _can_return(facts: Facts, snapshot: Snapshot | None) -> Verdict:
    whole = _whole(snapshot)
    if not whole or snapshot is None:
        return whole
    attached = {each.disk_id for each in facts.disks}
    if any(mark.layer.disk_id not in attached for mark in snapshot.disks.all()):
        return no(f"A disk of {snapshot.name} is no longer attached to {facts.vm.name}: attach it first.")
    return YES


def memory_fits(facts: Facts, snapshot: Snapshot) -> Verdict:
    """Whether the guest can go on in the memory of the snapshot."""
    if not snapshot.with_memory:
        return no(f"{snapshot.name} was taken without memory.")
    why = machine.other_devices(facts.vm, snapshot.machine)
    return no(f"The memory of {snapshot.name} does not fit {facts.vm.name}: {why}.") if why else YES


def runs(vm: VM) -> bool:
    return vm.status in _RUNS
