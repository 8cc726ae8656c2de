"""Virtual machines, templates, their disks and NICs."""

import uuid

from django.db import models
from django.db.models.functions import Lower

from accounts.managers import VisibleManager
from hosts.models import Cluster, DataCenter, Host
from networks.models import Network
from portal.base import Entity
from storage.models import Disk
from vms.guest.settings import SetUpBy
from vms.instance_types import InstanceType as InstanceType


class VmStatus(models.TextChoices):
    """features.md section 3; observed from libvirt by vms.observe, or set by a running job for image_locked and the like."""

    DOWN = "down"
    WAIT_FOR_LAUNCH = "wait_for_launch", "wait for launch"
    POWERING_UP = "powering_up", "powering up"
    UP = "up"
    POWERING_DOWN = "powering_down", "powering down"
    REBOOT_IN_PROGRESS = "reboot_in_progress", "reboot in progress"
    PAUSED = "paused"
    SAVING_STATE = "saving_state", "saving state"
    SUSPENDED = "suspended"
    RESTORING_STATE = "restoring_state", "restoring state"
    MIGRATING_FROM = "migrating_from", "migrating from"
    MIGRATING_TO = "migrating_to", "migrating to"
    IMAGE_LOCKED = "image_locked", "image locked"
    NOT_RESPONDING = "not_responding", "not responding"
    UNKNOWN = "unknown"


class Firmware(models.TextChoices):
    BIOS = "bios", "BIOS"
    EFI = "efi", "UEFI"
    EFI_SECURE = "efi-secure", "UEFI with secure boot"


class Hardware(models.Model):
    """What a VM and a template both say about the machine."""

    memory_mib = models.PositiveIntegerField(default=512)
    vcpus = models.PositiveIntegerField(default=1)
    firmware = models.CharField(max_length=16, choices=Firmware, default=Firmware.BIOS)
    os = models.CharField(max_length=64, blank=True, default="linux")
    # Direct kernel boot, as paths on the host; empty for VMs that boot from their disks.
    kernel = models.CharField(max_length=1024, blank=True, default="")
    initrd = models.CharField(max_length=1024, blank=True, default="")
    cmdline = models.CharField(max_length=1024, blank=True, default="")

    class Meta:
        abstract = True


class Template(Entity, Hardware):
    OBJECT_TYPE = "template"
    GRANT_PATHS = {"template": "id", "data_center": "data_center_id"}

    data_center = models.ForeignKey(DataCenter, on_delete=models.PROTECT, related_name="templates")
    version = models.PositiveIntegerField(default=1)
    disks = models.ManyToManyField(Disk, related_name="templates", blank=True)
    set_up_by = models.CharField(
        max_length=16, choices=SetUpBy, default=SetUpBy.NONE, help_text="which program in its guests reads first boot settings"
    )
    sealed = models.BooleanField(default=False, help_text="its guest was cleaned of what must be its own: host keys, machine id")
    objects = VisibleManager()

    class Meta:
        ordering = ["name", "-version"]
        constraints = [models.UniqueConstraint(Lower("name"), "data_center", "version", name="template_name_unique")]

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}" if self.version > 1 else self.name


class VmOrigin(models.TextChoices):
    VIREO = "vireo", "made here"
    ADOPTED = "adopted"


class Priority(models.IntegerChoices):
    """Who is placed and started first when there is not room or time for all, and moved last."""

    LOW = 10
    MEDIUM = 50
    HIGH = 90


class VM(Entity, Hardware):
    """A persistent libvirt domain with this row's id as its UUID. `status`, `host` and guest facts are observed."""

    OBJECT_TYPE = "vm"
    GRANT_PATHS = {"vm": "id", "cluster": "cluster_id", "data_center": "cluster__data_center_id"}

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="vms")
    template = models.ForeignKey(Template, null=True, blank=True, on_delete=models.SET_NULL, related_name="vms")
    owner = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="vms")
    quota = models.ForeignKey("accounts.Quota", null=True, blank=True, on_delete=models.PROTECT, related_name="vms")
    origin = models.CharField(max_length=16, choices=VmOrigin, default=VmOrigin.VIREO)
    domain_name = models.CharField(
        max_length=255, blank=True, default="", help_text="libvirt's name of it, which stays when the VM is renamed"
    )
    delete_protected = models.BooleanField(default=False)
    tags = models.JSONField(default=list, blank=True)
    # What was asked for while the VM ran and needs a restart: field name -> value.
    next_run = models.JSONField(default=dict, blank=True)
    display_secret = models.TextField(blank=True, default="", help_text="VNC password, encrypted")

    host = models.ForeignKey(
        Host, null=True, blank=True, on_delete=models.PROTECT, related_name="vms", help_text="where the domain is defined"
    )
    status = models.CharField(max_length=32, choices=VmStatus, default=VmStatus.DOWN)
    status_reason = models.TextField(blank=True, default="")
    status_since = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    sealed_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="since then it was not started")
    guest_hostname = models.CharField(max_length=255, blank=True, default="")
    guest_os = models.CharField(max_length=255, blank=True, default="")
    guest_addresses = models.JSONField(default=list, blank=True)
    # hypervisor.domain_xml.Difference as dicts: what virsh changed against what was asked for.
    drift = models.JSONField(default=list, blank=True)
    # What becomes of it when its host or QEMU dies: see vms.ha.
    highly_available = models.BooleanField(default=False, help_text="runs again by itself after its host failed, or it crashed")
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.MEDIUM)
    restart_by_lease = models.BooleanField(
        default=False, help_text="also when its host could not be fenced, once the locks of its disks are free"
    )
    # A machine that is lent for a time: see vms.expiry.
    expires_at = models.DateTimeField(null=True, blank=True)
    # A machine of a pool, and who has it; `to_reset`: it is cleared away, and nobody can take it.
    pool = models.ForeignKey("vms.Pool", null=True, blank=True, on_delete=models.SET_NULL, related_name="machines")
    taken_by = models.ForeignKey("accounts.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="taken_machines")
    taken_at = models.DateTimeField(null=True, blank=True)
    to_reset = models.BooleanField(default=False, editable=False)
    expiry_noticed_for = models.DateTimeField(null=True, blank=True, editable=False, help_text="the date that its notice was given for")
    objects = VisibleManager()

    class Meta:
        ordering = ["name", "id"]
        indexes = [
            models.Index(fields=["name", "id"]),  # the first page of 10,000 is read from it, not sorted
            models.Index(fields=["status"]),
            models.Index(fields=["host", "status"]),
            models.Index(fields=["created_at"]),
            models.Index(fields=["expires_at"]),
        ]
        constraints = [
            models.UniqueConstraint(Lower("name"), "cluster", name="vm_name_unique"),
            models.CheckConstraint(condition=models.Q(memory_mib__gte=1), name="vm_memory_positive"),
            models.CheckConstraint(condition=models.Q(vcpus__gte=1), name="vm_vcpus_positive"),
            models.CheckConstraint(condition=models.Q(priority__lte=100), name="vm_priority_percent"),
        ]


class DiskBus(models.TextChoices):
    VIRTIO = "virtio"
    SCSI = "scsi", "VirtIO-SCSI"
    SATA = "sata", "SATA"


class DiskAttachment(models.Model):
    """A disk in a VM's slot; an ISO makes it a CD drive, and a CD drive may be empty."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="attachments")
    disk = models.ForeignKey(Disk, null=True, on_delete=models.PROTECT, related_name="attachments")
    device = models.CharField(max_length=8, choices=[("disk", "disk"), ("cdrom", "CD drive")], default="disk")
    target = models.CharField(max_length=8)
    bus = models.CharField(max_length=8, choices=DiskBus, default=DiskBus.VIRTIO)
    read_only = models.BooleanField(default=False)
    # What the guest may do in a second with it; 0 is unlimited.
    io_iops = models.PositiveBigIntegerField(default=0)
    io_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["target"]
        constraints = [models.UniqueConstraint(fields=["vm", "target"], name="disk_target_unique")]


class Nic(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="nics")
    name = models.CharField(max_length=32, default="nic1")
    mac = models.CharField(max_length=17)
    network = models.ForeignKey(Network, null=True, on_delete=models.PROTECT, related_name="nics")
    # The libvirt network or bridge of an adopted VM's NIC that is none of our networks.
    foreign_source = models.CharField(max_length=64, blank=True, default="")
    model = models.CharField(max_length=16, default="virtio")
    linked = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["vm", "name"], name="nic_name_unique")]
        indexes = [models.Index(fields=["mac"])]


class ConsoleTicket(models.Model):
    """Lets one user open one console once, from one session, for half a minute."""

    digest = models.CharField(primary_key=True, max_length=64)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE)
    session_key = models.CharField(max_length=64)
    vm = models.ForeignKey(VM, on_delete=models.CASCADE)
    kind = models.CharField(max_length=8, choices=[("vnc", "VNC"), ("serial", "serial")])
    view_only = models.BooleanField(default=False)
    take_over = models.BooleanField(default=False)
    expires_at = models.DateTimeField()


from vms.guest.models import FirstBootSettings, GuestPassword, GuestReport  # noqa: E402, F401  models of this app in modules of their own
from vms.ha.models import Restart  # noqa: E402, F401
from vms.placement.models import AffinityGroup, PlacementDecision  # noqa: E402, F401
from vms.pools.models import Pool  # noqa: E402, F401
from vms.records.models import FoundVm, RecordsKept  # noqa: E402, F401
from vms.snapshots.models import Layer, Position, Snapshot, SnapshotDisk  # noqa: E402, F401
