"""The verbs on snapshots. Each asks permission and capability, writes its rows and submits a job in one transaction.

Raises PermissionDenied (403), NotPossible and jobs.errors.ObjectBusy (409), FieldError (422).
"""

from typing import Any

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from jobs.engine import submit
from jobs.errors import ObjectBusy
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.names import valid_name, valid_text
from vms import quota
from vms.models import VM
from vms.snapshots import can, machine, rows
from vms.snapshots.models import Snapshot, SnapshotStatus


def _locked(vm: VM) -> VM:
    """The row as it is now, held: so that two snapshots are not counted as one."""
    return VM.objects.select_for_update(of=("self",)).select_related("cluster__data_center", "host", "quota").get(pk=vm.pk)


def _ready(user: User, vm: VM, action: str, snapshot: Snapshot | None = None) -> can.Facts:
    """Permission, then capability."""
    known = can.VM_ACTIONS.get(action) or can.ACTIONS[action]
    require(user, known.permission, vm)
    facts = can.facts_of(vm)
    if facts.busy is not None and action != "edit":
        raise ObjectBusy(vm.name, facts.busy)
    verdict = can.check(action, facts, snapshot)
    if not verdict:
        raise NotPossible(verdict.reason)
    return facts


def take(user: User, vm: VM, name: str, note: str = "", *, memory: bool = False, quiesce: bool = False) -> tuple[Snapshot, Job]:
    """Freezes the VM's disks as they are now.

    Args:
        memory: of a running VM its memory, too; it stands still while that is saved.
        quiesce: the guest's agent freezes its file systems for the moment.
    """
    require(user, can.PERMISSION, vm)
    name, note = valid_name(name), valid_text(note, "note")
    with transaction.atomic():
        vm = _locked(vm)
        _ready(user, vm, "take")
        if vm.snapshots.filter(name__iexact=name).exists():
            raise FieldError("name", f"{vm.name} has a snapshot named {name} already.")
        if not can.runs(vm) and memory:
            raise FieldError("memory", f"{vm.name} does not run: it has no memory to save.")
        if not can.runs(vm) and quiesce:
            raise FieldError("quiesce", f"{vm.name} does not run: there is nothing to freeze.")
        if memory and quiesce:
            raise FieldError("quiesce", "With memory there is nothing to freeze: the guest stands still while it is saved.")
        quota.take_snapshot(user, vm)
        snapshot = Snapshot(vm=vm, name=name, note=note, created_by=user, with_memory=memory, quiesced=quiesce)
        snapshot.machine = machine.describe(vm)
        if memory:
            snapshot.memory_disk, snapshot.memory_volume, snapshot.memory_path = rows.memory_file(vm, snapshot)
        snapshot.save(force_insert=True)
        disks = [each.disk for each in rows.attachments(vm)]
        job = _submit("take", user, vm, snapshot, f"Take snapshot {name} of {vm.name}", locks=[snapshot, *disks])
        record("vm.snapshot_asked", f"{user} asked for snapshot {name} of {vm.name}", obj=vm, user=user, job=job)
        rows.changed(vm)
    return snapshot, job


def _submit(kind: str, user: User, vm: VM, snapshot: Snapshot, title: str, *, locks: Any = None, **params: Any) -> Job:
    """Locks all of the VM's snapshots, since a merge writes into layers below others, and its disks."""
    if locks is None:
        locks = [*vm.snapshots.all(), *(each.disk for each in rows.attachments(vm))]
    return submit(f"snapshot.{kind}", user=user, target=vm, title=title, params={"snapshot": str(snapshot.pk)} | params, locks=locks)


def preview(user: User, vm: VM, snapshot: Snapshot, *, memory: bool = False, poweroff: bool = False) -> Job:
    """Sets the VM back to the snapshot for a try; its present state is set aside. `poweroff`: also when it runs now."""
    return _return_to("preview", "Preview", user, vm, snapshot, memory, poweroff)


def revert(user: User, vm: VM, snapshot: Snapshot, *, memory: bool = False, poweroff: bool = False) -> Job:
    """Sets the VM back to the snapshot for good: what was written since the newest snapshot is lost."""
    return _return_to("revert", "Revert to", user, vm, snapshot, memory, poweroff)


def _return_to(kind: str, word: str, user: User, vm: VM, snapshot: Snapshot, memory: bool, poweroff: bool) -> Job:
    require(user, can.PERMISSION, vm)
    with transaction.atomic():
        vm = _locked(vm)
        facts = _ready(user, vm, kind, snapshot)
        _may_power_off(user, vm, poweroff)
        if memory:
            if not (fits := can.memory_fits(facts, snapshot)):
                raise FieldError("memory", fits.reason)
            require(user, "vm.start", vm)
            quota.take_start(user, vm)
        title = f"{word} {snapshot.name} of {vm.name}"
        job = _submit(kind, user, vm, snapshot, title, memory=memory, poweroff=poweroff)
        record(f"vm.snapshot_{kind}_asked", f"{user}: {title}", obj=vm, user=user, job=job)
    return job


def _may_power_off(user: User, vm: VM, poweroff: bool) -> None:
    if can.runs(vm):
        if not poweroff:
            raise FieldError("poweroff", f"{vm.name} runs: its disks can only be set back while it is off.")
        require(user, "vm.stop", vm)


def commit(user: User, vm: VM) -> Job:
    """Keeps the state that is previewed; what was set aside is deleted."""
    return _end_preview("commit", "Keep preview", user, vm, False)


def undo(user: User, vm: VM, *, poweroff: bool = False) -> Job:
    """Returns to the state before the preview; what was written in it is deleted."""
    return _end_preview("undo", "Leave preview", user, vm, poweroff)


def _end_preview(kind: str, word: str, user: User, vm: VM, poweroff: bool) -> Job:
    require(user, can.PERMISSION, vm)
    with transaction.atomic():
        vm = _locked(vm)
        snapshot = _ready(user, vm, kind).position.preview
        assert snapshot is not None
        if kind == "undo":
            _may_power_off(user, vm, poweroff)
        title = f"{word} of {snapshot.name} on {vm.name}"
        job = _submit(kind, user, vm, snapshot, title, poweroff=poweroff)
        record(f"vm.snapshot_{kind}_asked", f"{user}: {title}", obj=vm, user=user, job=job)
    return job


def delete(user: User, vm: VM, snapshot: Snapshot) -> Job:
    """Merges the snapshot's layers into what comes after it, while the VM runs, too; nothing of the VM's present state is lost."""
    require(user, can.PERMISSION, vm)
    with transaction.atomic():
        vm = _locked(vm)
        _ready(user, vm, "delete", snapshot)
        title = f"Delete snapshot {snapshot.name} of {vm.name}"
        job = _submit("delete", user, vm, snapshot, title, disks=snapshot.disks.count())
        rows.set_status(snapshot, SnapshotStatus.DELETING)
        record("vm.snapshot_delete_asked", f"{user}: {title}", obj=vm, user=user, job=job)
    return job


def edit(user: User, vm: VM, snapshot: Snapshot, name: str, note: str) -> Snapshot:
    """Another name and note."""
    require(user, can.PERMISSION, vm)
    name, note = valid_name(name), valid_text(note, "note")
    if vm.snapshots.filter(name__iexact=name).exclude(pk=snapshot.pk).exists():
        raise FieldError("name", f"{vm.name} has a snapshot named {name} already.")
    with transaction.atomic():
        before = audit.snapshot(snapshot, "name", "note")
        snapshot.name, snapshot.note = name, note
        snapshot.save(update_fields=["name", "note"])
        change = audit.changes(before, audit.snapshot(snapshot, "name", "note"))
        record("vm.snapshot_edited", f"Snapshot {name} of {vm.name} was edited", obj=vm, user=user, change=change)
        rows.changed(vm)
    return snapshot
