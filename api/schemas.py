"""What the API takes and gives. Memory in MiB, sizes in bytes, times in ISO 8601 UTC."""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from ninja import Field, Schema
from pydantic import ConfigDict, field_validator

T = TypeVar("T")


class Page(Schema, Generic[T]):
    items: list[T]
    count: int = Field(description="how many match in all, whatever the page")


class Ref(Schema):
    id: UUID
    name: str


class Input(Schema):
    """A body: an unknown field is an error, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def storable(cls, value: Any) -> Any:
        """No database of ours stores a NUL, and no name has one."""
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError("This has a NUL character in it.")
        return value


class Problem(Schema):
    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


class VmOut(Schema):
    id: UUID
    name: str
    description: str
    status: str
    status_reason: str
    status_since: datetime | None
    cluster: Ref
    host: Ref | None
    template: Ref | None
    memory_mib: int
    vcpus: int
    firmware: str
    os: str
    tags: list[str]
    guest_hostname: str
    guest_addresses: list[str]
    next_run: dict[str, Any]
    started_at: datetime | None
    created_at: datetime


class VmIn(Input):
    name: str = Field(min_length=1, max_length=255)
    cluster: str = Field(description="name or id")
    template: str | None = Field(None, description="name or id; without one the VM is blank")
    iso: str | None = Field(None, description="name or id of an ISO to boot from")
    description: str = Field("", max_length=4000)
    memory_mib: int | None = Field(None, description="from the template when absent")
    vcpus: int | None = None
    disk_bytes: int | None = Field(None, description="size of the first disk of a blank VM")
    network: str | None = Field(None, description="name or id; the cluster's first when absent")
    storage_domain: str | None = Field(None, description="name or id; chosen when absent")
    host: str | None = Field(None, description="name or id; the scheduler chooses when absent")
    quota: str | None = Field(None, description="name or id; your only one there when absent")
    tags: list[str] = []
    start: bool = False


class VmPatch(Input):
    name: str | None = Field(None, min_length=1, max_length=255)
    description: str | None = Field(None, max_length=4000)
    memory_mib: int | None = None
    vcpus: int | None = None
    tags: list[str] | None = None
    delete_protected: bool | None = None


class ActionIn(Input):
    """Options of an action; each action reads its own."""

    force: bool = Field(False, description="shutdown: power off when the guest does not answer in time")
    iso: str | None = Field(None, description="run_once: name or id of an ISO to boot from")
    paused: bool = Field(False, description="run_once: start paused")


class MigrateIn(Input):
    host: str | None = Field(None, description="name or id; the best when absent")
    bandwidth_mib: int = Field(0, ge=0, description="at most so much a second; 0: no limit")
    downtime_ms: int = Field(0, ge=0, description="how long it may stand still at the end; 0: QEMU's own")
    auto_converge: bool = Field(True, description="slow the guest down when it writes faster than the network carries")
    compress: bool = False
    post_copy: bool = Field(False, description="finish at the target when it does not converge")


class StepOut(Schema):
    name: str
    title: str
    status: str


class JobOut(Schema):
    id: UUID
    kind: str
    title: str
    status: str
    progress: int
    message: str
    error: str
    error_detail: str
    object_type: str
    object_id: UUID
    object_name: str
    cancellable: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobDetail(JobOut):
    steps: list[StepOut]


class VmAndJob(Schema):
    vm: VmOut
    job: JobOut


class HostOut(Schema):
    id: UUID
    name: str
    description: str
    cluster: Ref
    address: str
    transport: str
    status: str
    status_reason: str
    status_since: datetime | None
    last_seen_at: datetime | None
    driver: str
    libvirt_version: str
    hypervisor_version: str
    cpu_model: str
    cpu_count: int
    memory_bytes: int


class HostIn(Input):
    name: str = Field(min_length=1, max_length=255)
    cluster: str = Field(description="name or id")
    address: str = Field(min_length=1, max_length=255)
    transport: str = Field("tls", description="tls (by enrolment) or ssh")
    port: int = Field(0, ge=0, le=65535, description="0: the transport's own")
    ssh_user: str = "root"
    description: str = ""


class HostAndJob(Schema):
    host: HostOut
    job: JobOut | None
    enrolment_command: str = Field("", description="to be pasted on the host, once, within the hour")


class TemplateOut(Schema):
    id: UUID
    name: str
    version: int
    description: str
    data_center: Ref
    memory_mib: int
    vcpus: int
    firmware: str
    os: str
    created_at: datetime


class TemplateIn(Input):
    vm: str = Field(description="name or id of the VM, which must be down")
    name: str = Field(min_length=1, max_length=255)
    description: str = ""


class ClusterOut(Schema):
    id: UUID
    name: str
    description: str
    data_center: Ref
    cpu_model: str


class DataCenterOut(Schema):
    id: UUID
    name: str
    description: str


class StorageDomainOut(Schema):
    id: UUID
    name: str
    description: str
    data_center: Ref
    kind: str
    path: str
    status: str
    status_reason: str
    capacity_bytes: int
    available_bytes: int


class DiskOut(Schema):
    id: UUID
    name: str
    domain: Ref | None
    content: str
    format: str
    capacity_bytes: int
    allocated_bytes: int
    status: str


class NetworkOut(Schema):
    id: UUID
    name: str
    description: str
    cluster: Ref
    forward: str
    cidr: str


class EventOut(Schema):
    id: int
    at: datetime
    severity: str
    kind: str
    message: str
    object_type: str
    object_id: UUID | None
    object_name: str
    user_name: str


class AuditEntryOut(Schema):
    id: int
    at: datetime
    actor_id: str
    actor_name: str
    as_whom_id: str
    as_whom: str
    action: str
    object_type: str
    object_id: str
    object_name: str
    address: str
    channel: str
    token: str
    job_id: str
    outcome: str
    message: str
    before: dict[str, Any]
    after: dict[str, Any]
    details: dict[str, Any]
    previous_hash: str
    hash: str


class InstanceTypeOut(Schema):
    id: UUID
    name: str
    description: str
    vcpus: int
    memory_mib: int
