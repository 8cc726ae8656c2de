"""What the API takes and gives about the disks of VMs."""

from uuid import UUID

from ninja import Field, Schema

from api.schemas import DiskOut, Input, JobOut


class AttachmentOut(Schema):
    id: UUID
    disk: DiskOut | None
    device: str
    target: str = Field(description="the guest's slot")
    bus: str
    read_only: bool
    io_iops: int = Field(description="operations a second; 0 is unlimited")
    io_bytes: int = Field(description="bytes a second; 0 is unlimited")


class AttachmentAndJob(Schema):
    attachment: AttachmentOut
    job: JobOut


class AttachIn(Input):
    """Either `disk`, which is there, or `storage_domain` and `capacity_bytes` of one that is made."""

    disk: str | None = Field(None, description="name or id")
    storage_domain: str | None = Field(None, description="name or id: where a new disk lies")
    capacity_bytes: int | None = None
    name: str = Field("", max_length=255, description="of a new disk")
    format: str = Field("qcow2", description="of a new disk: qcow2 or raw")
    shareable: bool = Field(False, description="of a new raw disk: several VMs may have it")
    bus: str = Field("virtio", description="virtio, scsi or sata")
    read_only: bool = Field(False, description="of a disk that is there")
    quota: str | None = Field(None, description="of a new disk: name or id")


class LimitsIn(Input):
    io_iops: int = Field(0, ge=0)
    io_bytes: int = Field(0, ge=0)


class DiskPatch(Input):
    name: str | None = Field(None, min_length=1, max_length=255)
    description: str | None = Field(None, max_length=4000)
    shareable: bool | None = None


class ResizeIn(Input):
    capacity_bytes: int


class MoveIn(Input):
    storage_domain: str = Field(description="name or id")
    host: str | None = Field(None, description="name or id: whose directory of a local storage domain")


class CopyIn(MoveIn):
    name: str = Field(min_length=1, max_length=255)
    format: str = Field("", description="qcow2, raw, or empty for the disk's own")
    quota: str | None = Field(None, description="name or id")


class DiskAndJob(Schema):
    disk: DiskOut
    job: JobOut
