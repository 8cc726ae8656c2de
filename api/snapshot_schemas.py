"""What the API takes and gives of snapshots. Sizes in bytes, times in ISO 8601 UTC."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field, Schema

from api.schemas import Input, JobOut


class SnapshotOut(Schema):
    id: UUID
    name: str
    note: str
    status: str
    at: datetime
    parent: UUID | None = Field(None, alias="parent_id", description="the snapshot before it")
    with_memory: bool
    quiesced: bool
    created_by: str | None
    bytes: int = Field(description="what its layers and its memory take on the storage")

    @staticmethod
    def resolve_created_by(snapshot: Any) -> str | None:
        return snapshot.created_by.username if snapshot.created_by else None

    @staticmethod
    def resolve_bytes(snapshot: Any) -> int:
        return snapshot.memory_bytes + sum(mark.layer.allocated_bytes for mark in snapshot.disks.all())


class SnapshotsOut(Schema):
    items: list[SnapshotOut]
    count: int
    current: UUID | None = Field(description="the snapshot that the VM's present state follows")
    preview: UUID | None = Field(description="the snapshot that the VM is tried at")


class SnapshotAndJob(Schema):
    snapshot: SnapshotOut
    job: JobOut


class SnapshotIn(Input):
    name: str = Field(min_length=1, max_length=255)
    note: str = Field("", max_length=4000)
    memory: bool = Field(False, description="of a running VM, its memory, too")
    quiesce: bool = Field(False, description="the guest agent freezes its file systems for the moment")


class SnapshotPatch(Input):
    name: str | None = Field(None, min_length=1, max_length=255)
    note: str | None = Field(None, max_length=4000)


class ReturnIn(Input):
    memory: bool = Field(False, description="the guest goes on where it was")
    poweroff: bool = Field(False, description="when it runs, power it off first")


class UndoIn(Input):
    poweroff: bool = Field(False, description="when it runs, power it off first")


class SnapshotCopyIn(Input):
    name: str = Field(min_length=1, max_length=255)
    description: str = Field("", max_length=4000)
