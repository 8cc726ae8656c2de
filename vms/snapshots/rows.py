"""Layers and snapshots as rows: a disk's tree out of them, and what a verb did into them. Each function is one transaction."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from events.log import record
from portal.live import publish
from storage.models import Disk, DiskContent
from vms.models import VM, DiskAttachment
from vms.snapshots import machine
from vms.snapshots.chain import Drop, Merge, Node, Tree
from vms.snapshots.models import Layer, LayerState, Position, Snapshot, SnapshotDisk, SnapshotStatus


def attachments(vm: VM) -> list[DiskAttachment]:
    """The disks of which snapshots are taken: what the guest writes to."""
    return list(
        vm.attachments.select_related("disk__domain", "disk__host", "disk__backing")
        .filter(device="disk", read_only=False, disk__content=DiskContent.DATA)
        .order_by("target")
    )


def position_of(vm: VM) -> Position:
    """Where the VM stands; an unsaved row for one without snapshots."""
    return Position.objects.select_related("current", "preview", "back").filter(vm=vm).first() or Position(vm=vm)


def bottom_of(disk: Disk) -> list[str]:
    """The files below a disk's own: those of the template that it is a thin copy of."""
    found, below = [], disk.backing
    while below is not None:
        found.append(below.path)
        below = below.backing
    return found


def tree_of(disk: Disk) -> Tree:
    """The disk's layers; of one without snapshots its only file."""
    layers = list(disk.layers.order_by("pk"))
    active = next((layer for layer in layers if layer.state == LayerState.ACTIVE), None)
    if active is None:
        return Tree({"": Node("", disk.path)}, "")
    nodes = {str(layer.pk): Node(str(layer.parent_id or ""), layer.path) for layer in layers}
    aside = next((str(layer.pk) for layer in layers if layer.state == LayerState.ASIDE), "")
    marks = SnapshotDisk.objects.filter(layer__disk=disk).values_list("snapshot_id", "layer_id")
    return Tree(nodes, str(active.pk), aside, {str(snapshot): str(layer) for snapshot, layer in marks})


def expected_chain(disk: Disk) -> tuple[str, ...]:
    """The files that the guest must be reading from, the active one first."""
    if not disk.layers.exists():
        return (disk.path, *bottom_of(disk))
    tree = tree_of(disk)
    return (*tree.files(tree.active), *bottom_of(disk))


def layer_volume(disk: Disk, key: Any) -> str:
    """The name of a new layer: of the disk, and of the snapshot or job that made it."""
    return f"{disk.pk}.{key}.qcow2"


def memory_file(vm: VM, snapshot: Snapshot) -> tuple[Disk, str, str]:
    """Where the memory is saved: beside the first disk, which is returned with the volume's name and path."""
    first = attachments(vm)[0].disk
    assert first is not None
    volume = f"{vm.pk}.{snapshot.pk}.memory"
    return first, volume, str(PurePosixPath(first.path).parent / volume)


@transaction.atomic
def draft_layer(disk: Disk, key: UUID, over: Layer | None) -> Layer:
    """The row of a layer that is about to be made, found again by a second try. Nothing needs it yet, so whatever happens it goes by itself."""
    first = disk.layers.filter(state=LayerState.ACTIVE).first()
    if first is None:
        first = Layer.objects.create(disk=disk, state=LayerState.ACTIVE, volume=disk.volume_name, path=disk.path, format=disk.format)
    made, _created = Layer.objects.get_or_create(disk=disk, volume=layer_volume(disk, key), defaults={"parent": over or first})
    return made


def drop_draft(disk: Disk, key: UUID) -> None:
    """The layer was not made after all."""
    disk.layers.filter(volume=layer_volume(disk, key), state=LayerState.FROZEN).delete()
    forget_lone_layer(disk)


def forget_lone_layer(disk: Disk) -> None:
    """A disk of one file that no snapshot needs has no layers."""
    only = list(disk.layers.all()[:2])
    if len(only) == 1 and only[0].state == LayerState.ACTIVE and only[0].parent_id is None and not only[0].marks.exists():
        only[0].delete()


def _activate(layer: Layer, disk: Disk) -> None:
    """The disk writes into this layer from now on; the one before has got its new state already."""
    Layer.objects.filter(pk=layer.pk).update(state=LayerState.ACTIVE)
    _point(disk, layer)


def _point(disk: Disk, layer: Layer) -> None:
    values = {"path": layer.path, "volume": layer.volume, "format": layer.format}
    Disk.objects.filter(pk=disk.pk).update(rev=F("rev") + 1, **values)
    disk.refresh_from_db()
    publish("disk", disk.pk, "changed", disk.rev, {"status": disk.status})


@transaction.atomic
def took(snapshot: Snapshot, memory_bytes: int) -> None:
    """The disks write into their new layers: those below are the snapshot's."""
    vm = snapshot.vm
    if SnapshotDisk.objects.filter(snapshot=snapshot).exists():
        return
    for attachment in attachments(vm):
        disk = attachment.disk
        assert disk is not None
        new = disk.layers.get(volume=layer_volume(disk, snapshot.pk))
        old = disk.layers.get(state=LayerState.ACTIVE)
        SnapshotDisk.objects.create(snapshot=snapshot, layer=old, target=attachment.target, capacity_bytes=disk.capacity_bytes)
        Layer.objects.filter(pk=old.pk).update(state=LayerState.FROZEN)
        _activate(new, disk)
    position = position_of(vm)
    Snapshot.objects.filter(pk=snapshot.pk).update(
        status=SnapshotStatus.OK, parent=position.current, at=timezone.now(), memory_bytes=memory_bytes
    )
    position.current = snapshot
    position.save()
    changed(vm)


@transaction.atomic
def not_taken(snapshot: Snapshot) -> None:
    """The disks write into their old layers again; the new ones are drafts that nothing needs."""
    vm, marks = snapshot.vm, list(snapshot.disks.select_related("layer__disk"))
    if not marks:
        return
    for mark in marks:
        mark.layer.disk.layers.filter(state=LayerState.ACTIVE).update(state=LayerState.FROZEN)
        _activate(mark.layer, mark.layer.disk)
        mark.delete()
    Position.objects.filter(vm=vm).update(current=snapshot.parent)
    changed(vm)


@transaction.atomic
def previewing(vm: VM, snapshot: Snapshot, key: UUID) -> None:
    """The VM stands on the snapshot, on new layers; what it had is set aside, its hardware, too."""
    position = position_of(vm)
    if position.preview_id is not None:
        return
    for mark in snapshot.disks.select_related("layer__disk"):
        disk = mark.layer.disk
        new = disk.layers.get(volume=layer_volume(disk, key))
        disk.layers.filter(state=LayerState.ACTIVE).update(state=LayerState.ASIDE)
        _activate(new, disk)
    position.back, position.back_machine = position.current, machine.describe(vm)
    position.current = position.preview = snapshot
    position.save()
    vm.save(update_fields=machine.apply(vm, snapshot.machine))
    changed(vm)


@transaction.atomic
def preview_kept(vm: VM) -> None:
    """The preview is the state of the VM now; nothing needs what was set aside."""
    Layer.objects.filter(disk__attachments__vm=vm, state=LayerState.ASIDE).update(state=LayerState.FROZEN)
    Position.objects.filter(vm=vm).update(preview=None, back=None, back_machine={})
    changed(vm)


@transaction.atomic
def preview_left(vm: VM) -> None:
    """The VM is as it was before the preview."""
    position = position_of(vm)
    if position.preview_id is None:
        return
    for attachment in attachments(vm):
        disk = attachment.disk
        assert disk is not None
        aside = disk.layers.filter(state=LayerState.ASIDE).first()
        if aside is not None:
            disk.layers.filter(state=LayerState.ACTIVE).update(state=LayerState.FROZEN)
            _activate(aside, disk)
    fields = machine.apply(vm, position.back_machine)
    position.current, position.preview, position.back, position.back_machine = position.back, None, None, {}
    position.save()
    vm.save(update_fields=fields)
    changed(vm)


@transaction.atomic
def dropped(disk: Disk, chore: Drop, snapshot: Snapshot | None) -> None:
    """The layer's file is gone."""
    if snapshot is not None:
        snapshot.disks.filter(layer_id=chore.layer).delete()
    Layer.objects.filter(pk=chore.layer).delete()
    forget_lone_layer(disk)


@transaction.atomic
def merged(disk: Disk, chore: Merge, snapshot: Snapshot | None) -> None:
    """The upper layer lives in the lower one's file; the lower row keeps the other file until that is deleted."""
    lower, upper = Layer.objects.get(pk=chore.lower), Layer.objects.get(pk=chore.upper)
    if snapshot is not None:
        snapshot.disks.filter(layer=lower).delete()
    for name in ("volume", "path", "format", "allocated_bytes"):
        ours, theirs = getattr(lower, name), getattr(upper, name)
        setattr(lower, name, theirs)
        setattr(upper, name, ours)
    upper.parent_id, lower.parent_id = lower.parent_id, None
    upper.save()
    lower.save()
    if upper.state == LayerState.ACTIVE:
        _point(disk, upper)


@transaction.atomic
def forgotten(snapshot: Snapshot, user: Any, job: Any) -> None:
    """The snapshot is no more; those that came after it follow the one before."""
    vm = snapshot.vm
    Snapshot.objects.filter(parent=snapshot).update(parent=snapshot.parent)
    Position.objects.filter(vm=vm, current=snapshot).update(current=snapshot.parent)
    record("vm.snapshot_deleted", f"Snapshot {snapshot.name} of {vm.name} was deleted", obj=vm, user=user, job=job)
    snapshot.delete()
    changed(vm)


def set_status(snapshot: Snapshot, status: SnapshotStatus) -> None:
    Snapshot.objects.filter(pk=snapshot.pk).update(status=status)
    changed(snapshot.vm)


def sizes(found: Iterable[tuple[Layer, int]]) -> None:
    """How much space each layer takes."""
    for layer, allocated in found:
        if layer.allocated_bytes != allocated:
            Layer.objects.filter(pk=layer.pk).update(allocated_bytes=allocated)


def snapshots_of(vm: VM) -> Sequence[Snapshot]:
    return list(vm.snapshots.select_related("created_by").prefetch_related("disks__layer"))


def changed(vm: VM) -> None:
    """Open pages of the VM read it again."""
    VM.objects.filter(pk=vm.pk).update(rev=F("rev") + 1)
    vm.rev += 1
    publish("vm", vm.pk, "changed", vm.rev, {"status": vm.status})
