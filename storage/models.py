"""Storage domains, their view from each host, and disks."""

from typing import Any

from django.db import models
from django.db.models.functions import Lower

from accounts.managers import VisibleManager, VisibleQuerySet
from hosts.models import DataCenter, Host
from portal.base import Entity
from storage.kinds import KINDS, LOCKING, Kind


class StorageKind(models.TextChoices):
    LOCAL_DIR = "local_dir", "Local directory"
    SHARED_DIR = "shared_dir", "Shared directory"
    NFS = "nfs", "NFS"
    ISCSI = "iscsi", "iSCSI"
    FC = "fc", "Fibre Channel"
    LOGICAL = "logical", "LVM"
    RBD = "rbd", "Ceph RBD"
    GLUSTER = "gluster", "Gluster"
    ZFS = "zfs", "ZFS"


class StorageStatus(models.TextChoices):
    UNATTACHED = "unattached"
    ACTIVATING = "activating"
    ACTIVE = "active"
    PREPARING_FOR_MAINTENANCE = "preparing_for_maintenance", "preparing for maintenance"
    MAINTENANCE = "maintenance"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


class SpaceLevel(models.TextChoices):
    OK = "ok"
    LOW = "low", "low on space"
    CRITICAL = "critical", "out of space"


class StorageDomain(Entity):
    """A place for disks. A local one exists on every host of the data center by the same path or name, each its own.

    `source` is what its kind asks for (storage.kinds), without the secret.
    """

    OBJECT_TYPE = "storage_domain"
    GRANT_PATHS = {"storage_domain": "id", "data_center": "data_center_id"}

    data_center = models.ForeignKey(DataCenter, on_delete=models.PROTECT, related_name="storage_domains")
    kind = models.CharField(max_length=16, choices=StorageKind)
    path = models.CharField(max_length=1024, blank=True, default="", help_text="directory or mount point on the hosts")
    source = models.JSONField(default=dict, blank=True)
    secret = models.TextField(blank=True, default="", help_text="encrypted by portal.secrets")
    status = models.CharField(max_length=32, choices=StorageStatus, default=StorageStatus.ACTIVATING)
    status_reason = models.TextField(blank=True, default="")
    capacity_bytes = models.PositiveBigIntegerField(default=0)
    available_bytes = models.PositiveBigIntegerField(default=0)
    warning_percent = models.PositiveSmallIntegerField(default=10, help_text="low on space when less than this share is free; 0: never")
    critical_bytes = models.PositiveBigIntegerField(default=1 << 30, help_text="no new disks when less than this is free; 0: never")
    overcommit = models.DecimalField(
        max_digits=6, decimal_places=2, default=0, help_text="most that disks may promise, as a multiple of the capacity; 0: no limit"
    )
    space_level = models.CharField(max_length=16, choices=SpaceLevel, default=SpaceLevel.OK)
    locks_hold = models.BooleanField(null=True, editable=False, help_text="what one host has open is refused to others; null: never tried")
    objects = VisibleManager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), "data_center", name="storage_domain_name_unique")]

    @property
    def pool_name(self) -> str:
        """The libvirt pool's name on every host."""
        return f"vireo-{self.id}"

    @property
    def used_bytes(self) -> int:
        return max(0, self.capacity_bytes - self.available_bytes)

    @property
    def traits(self) -> Kind:
        return KINDS[self.kind]

    @property
    def is_shared(self) -> bool:
        return self.traits.shared

    @property
    def has_locks(self) -> bool:
        """Whether its kind has locks that one host could see of another."""
        return self.kind in LOCKING

    @property
    def place(self) -> str:
        """Where it lies, in one line."""
        source = self.source
        match self.kind:
            case StorageKind.NFS:
                return f"{source['server']}:{source['export']}"
            case StorageKind.GLUSTER:
                return f"{source['server']}:/{source['volume']}"
            case StorageKind.ISCSI:
                return f"{source['target']} at {source['portal']}"
            case StorageKind.RBD:
                return f"pool {source['ceph_pool']} at {source['monitors']}"
            case StorageKind.LOGICAL:
                return f"volume group {source['group']}"
            case StorageKind.ZFS:
                return source["zpool"]
            case StorageKind.FC:
                return f"port {source['wwpn']}"
        return self.path


class StorageDomainHost(models.Model):
    """A storage domain as one host sees it. Written by storage.observe."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="on_hosts")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="storage_domains")
    status = models.CharField(max_length=32, choices=StorageStatus, default=StorageStatus.ACTIVATING)
    status_reason = models.TextField(blank=True, default="")
    capacity_bytes = models.PositiveBigIntegerField(default=0)
    available_bytes = models.PositiveBigIntegerField(default=0)
    checked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["domain", "host"], name="storage_domain_host_unique")]


class FoundVolume(models.Model):
    """A volume that a scan saw in a domain and that is no disk of ours: it can be taken in, unless `refusal` says why not."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="found")
    host = models.ForeignKey(Host, null=True, on_delete=models.CASCADE, related_name="+", help_text="of a local domain")
    name = models.CharField(max_length=255)
    path = models.CharField(max_length=1024)
    format = models.CharField(max_length=8)
    capacity_bytes = models.PositiveBigIntegerField()
    allocated_bytes = models.PositiveBigIntegerField()
    backing_path = models.CharField(max_length=1024, blank=True, default="")
    refusal = models.TextField(blank=True, default="")
    seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [  # two, for SQLite takes every NULL for another
            models.UniqueConstraint(fields=["domain", "host", "name"], name="found_volume_unique"),
            models.UniqueConstraint(fields=["domain", "name"], condition=models.Q(host=None), name="found_volume_unique_shared"),
        ]


class DiskStatus(models.TextChoices):
    OK = "ok"
    LOCKED = "locked"
    ILLEGAL = "illegal"


class DiskContent(models.TextChoices):
    DATA = "data"
    ISO = "iso", "ISO"
    SEED = "seed", "first boot settings"


class DiskQuerySet(VisibleQuerySet):
    def visible_to(self, user: Any, permission: str = "") -> "DiskQuerySet":
        """A VM's first boot settings are part of the VM, and no disk of anybody: they hold hashes of passwords."""
        return super().visible_to(user, permission).exclude(content=DiskContent.SEED)  # type: ignore[return-value]


class Disk(Entity):
    """A volume in a storage domain; `host` is set when the domain is local, for only that host has the file."""

    OBJECT_TYPE = "disk"
    GRANT_PATHS = {"disk": "id", "storage_domain": "domain_id", "data_center": "domain__data_center_id"}

    domain = models.ForeignKey(
        StorageDomain, null=True, on_delete=models.PROTECT, related_name="disks", help_text="none: a foreign file of an adopted VM"
    )
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="local_disks")
    path = models.CharField(max_length=1024, blank=True, default="", help_text="full path on the host; empty until the volume exists")
    volume = models.CharField(max_length=255, blank=True, default="", help_text="empty: the one that is named after the disk")
    content = models.CharField(max_length=8, choices=DiskContent, default=DiskContent.DATA)
    format = models.CharField(max_length=8, default="qcow2")
    capacity_bytes = models.PositiveBigIntegerField(default=0)
    allocated_bytes = models.PositiveBigIntegerField(default=0)
    status = models.CharField(max_length=16, choices=DiskStatus, default=DiskStatus.OK)
    quota = models.ForeignKey("accounts.Quota", null=True, blank=True, on_delete=models.PROTECT, related_name="disks")
    backing = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    shareable = models.BooleanField(default=False, help_text="several VMs may have it at once; raw only, and their guests must know")
    wipe_on_delete = models.BooleanField(default=False, help_text="overwritten with zeros before its volume is deleted")
    objects = models.Manager.from_queryset(DiskQuerySet)()

    class Meta:
        ordering = ["name"]

    @property
    def volume_name(self) -> str:
        """File names are ours, never what a user typed; a volume that was taken in keeps its own, and a disk with snapshots writes into its newest layer."""
        return self.volume or f"{self.id}.{'iso' if self.content == DiskContent.ISO else self.format}"

    @property
    def is_whole(self) -> bool:
        """Its volume alone holds all of it: it is no thin copy, and no snapshot lies below."""
        return self.backing_id is None and not self.layers.exists()


from storage.images.models import Image, Upload  # noqa: E402, F401  models of this app in a module of their own
