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
    highly_available: bool
    priority: int
    restart_by_lease: bool
    next_run: dict[str, Any]
    started_at: datetime | None
    created_at: datetime


class NicSetupIn(Input):
    """How the guest sets up a NIC; those that are not named get an address by DHCP."""

    name: str = Field(max_length=32, description="the NIC's name, such as nic1")
    method: str = Field("dhcp", description="dhcp, static or off")
    address: str = Field("", max_length=64, description="with its prefix: 192.0.2.10/24")
    gateway: str = Field("", max_length=64)
    dns: list[str] = Field([], max_length=8)


class FirstBootIn(Input):
    """What the guest is told at its first boot. Passwords are kept as hashes, the rest encrypted; nothing of it is given out again."""

    by: str = Field("cloud-init", description="cloud-init, sysprep or none")
    hostname: str = Field("", max_length=253)
    user: str = Field("", max_length=32)
    password: str = Field("", max_length=255)
    ssh_keys: list[str] = Field([], max_length=50)
    nics: list[NicSetupIn] = Field([], max_length=32)
    script: str = Field("", max_length=65536, description="runs once, as root")
    user_data: str = Field("", max_length=65536, description="further cloud-config, YAML")
    product_key: str = Field("", max_length=64)
    time_zone: str = Field("", max_length=64)
    organization: str = Field("", max_length=255)
    owner: str = Field("", max_length=255)
    locale: str = Field("", max_length=20)


class GuestNicOut(Schema):
    name: str
    mac: str
    addresses: list[str]


class GuestFilesystemOut(Schema):
    mountpoint: str
    kind: str
    total_bytes: int
    used_bytes: int


class GuestUserOut(Schema):
    name: str
    since: str


class GuestOut(Schema):
    """What the guest agent told when it was last asked in full. It is the guest's own word: do not trust it."""

    seen_at: datetime | None
    frozen_until: datetime | None
    hostname: str = ""
    os: str = ""
    kernel: str = ""
    time_zone: str = ""
    nics: list[GuestNicOut] = []
    filesystems: list[GuestFilesystemOut] = []
    users: list[GuestUserOut] = []


class GuestActionIn(Input):
    """Options of a guest action; each action reads its own."""

    account: str = Field("", max_length=64, description="password: an account of the guest")
    password: str = Field("", max_length=255, description="password: the new one")
    seconds: int = Field(60, description="freeze: thawed by itself after so long, 5 to 600")


class VmIn(Input):
    name: str = Field(min_length=1, max_length=255)
    cluster: str = Field(description="name or id")
    template: str | None = Field(None, description="name (its newest version) or id; without one the VM is blank")
    template_version: int | None = Field(None, ge=1, description="of the template that is named")
    instance_type: str | None = Field(None, description="name or id: gives memory and CPUs where these are absent")
    full_copy: bool = Field(False, description="disks that do not depend on the template's")
    first_boot: FirstBootIn | None = Field(None, description="as the template says when absent, with your own SSH keys")
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
    highly_available: bool | None = Field(None, description="runs again by itself after its host failed, or it crashed")
    priority: int | None = Field(None, description="10 low, 50 medium, 90 high")
    restart_by_lease: bool | None = Field(None, description="also when its host could not be fenced, once its disks' locks are free")


class ActionIn(Input):
    """Options of an action; each action reads its own."""

    force: bool = Field(False, description="shutdown: power off when the guest does not answer in time")
    iso: str | None = Field(None, description="run_once: name or id of an ISO to boot from")
    paused: bool = Field(False, description="run_once: start paused")


class MigrateIn(Input):
    host: str | None = Field(None, description="name or id; the best when absent")
    bandwidth_mib: int | None = Field(None, ge=0, description="at most so much a second; 0: no limit. This and the others: as the cluster's migration policy says when absent")
    downtime_ms: int | None = Field(None, ge=0, description="how long it may stand still at the end; 0: QEMU's own")
    auto_converge: bool | None = Field(None, description="slow the guest down when it writes faster than the network carries")
    compress: bool | None = None
    post_copy: bool | None = Field(None, description="finish at the target when it has not ended in time")
    post_copy_after_s: int | None = Field(None, ge=1, description="that time")


class HostActionIn(Input):
    shut_down: bool = Field(False, description="maintenance: VMs that cannot move are asked to shut down")
    name: str = Field("", description="confirm_off: the host's name, to confirm that it was rebooted and nothing runs there")


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
    set_up_by: str
    sealed: bool
    created_at: datetime


class TemplateIn(Input):
    vm: str = Field(description="name or id of the VM, which must be down")
    name: str = Field("", max_length=255, description="not with version_of")
    version_of: str | None = Field(None, description="name or id of a template that this is the next version of")
    description: str = ""


class TemplatePatch(Input):
    name: str | None = Field(None, min_length=1, max_length=255, description="changes for all versions")
    description: str | None = Field(None, max_length=4000)
    memory_mib: int | None = None
    vcpus: int | None = None
    os: str | None = Field(None, max_length=64)
    set_up_by: str | None = Field(None, description="cloud-init, sysprep or none")


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
