"""Snapshots of VMs, and the layers of disks that they keep."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from storage.models import Disk


class SnapshotStatus(models.TextChoices):
    TAKING = "taking"
    OK = "ok"
    DELETING = "deleting"
    BROKEN = "broken", "incomplete"


class Snapshot(models.Model):
    """A state of a VM to which it can return. `machine` is what it was made of then (see vms.snapshots.machine)."""

    OBJECT_TYPE: ClassVar[str] = "snapshot"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    vm = models.ForeignKey("vms.VM", on_delete=models.CASCADE, related_name="snapshots")
    parent = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="children")
    name = models.CharField(max_length=255)
    note = models.TextField(blank=True, default="", max_length=4000)
    created_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    status = models.CharField(max_length=16, choices=SnapshotStatus, default=SnapshotStatus.TAKING)
    quiesced = models.BooleanField(default=False)
    with_memory = models.BooleanField(default=False)
    memory_disk = models.ForeignKey(Disk, null=True, on_delete=models.SET_NULL, related_name="+", help_text="in whose domain it is saved")
    memory_volume = models.CharField(max_length=255, blank=True, default="")
    memory_path = models.CharField(max_length=1024, blank=True, default="")
    memory_bytes = models.PositiveBigIntegerField(default=0)
    machine = models.JSONField(default=dict)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return self.name


class LayerState(models.TextChoices):
    ACTIVE = "active"
    ASIDE = "aside"
    FROZEN = "frozen"


class Layer(models.Model):
    """A file of a disk that has snapshots. The active one is what `Disk` names; that of a VM in preview is set aside meanwhile.

    A frozen layer without a snapshot is only there because others build on it: it is merged or deleted as soon as it can be.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    disk = models.ForeignKey(Disk, on_delete=models.CASCADE, related_name="layers")
    # No layer goes while others build on it; all of a disk's go together, which is why the database does not object.
    parent = models.ForeignKey("self", null=True, on_delete=models.DO_NOTHING, related_name="children")
    state = models.CharField(max_length=8, choices=LayerState, default=LayerState.FROZEN)
    volume = models.CharField(max_length=255)
    path = models.CharField(max_length=1024, blank=True, default="", help_text="full path on the host; empty until the volume exists")
    format = models.CharField(max_length=8, default="qcow2")
    allocated_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["disk"], condition=Q(state="active"), name="layer_one_active"),
            models.UniqueConstraint(fields=["disk"], condition=Q(state="aside"), name="layer_one_aside"),
        ]


class SnapshotDisk(models.Model):
    """The layer that holds what a disk had at the snapshot."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="disks")
    layer = models.ForeignKey(Layer, on_delete=models.CASCADE, related_name="marks")
    target = models.CharField(max_length=8)
    capacity_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["target"]
        constraints = [models.UniqueConstraint(fields=["snapshot", "target"], name="snapshot_disk_once")]


class Position(models.Model):
    """Where in its tree a VM stands. No row: it has no snapshot.

    `preview` is the snapshot that is being tried; `back` and `back_machine` are what undoing the preview returns to.
    """

    vm = models.OneToOneField("vms.VM", on_delete=models.CASCADE, related_name="position")
    current = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="+")
    preview = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="+")
    back = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="+")
    back_machine = models.JSONField(default=dict)
