"""Storage domains, their view from each host, and disks."""

from typing import Any

from django.db import models
from django.db.models.functions import Lower

from accounts.managers import VisibleManager, VisibleQuerySet
from hosts.models import DataCenter, Host
from portal.base import Entity


class StorageKind(models.TextChoices):
    LOCAL_DIR = "local_dir", "local directory"
    SHARED_DIR = "shared_dir", "shared directory"


class StorageStatus(models.TextChoices):
    UNATTACHED = "unattached"
    ACTIVATING = "activating"
    ACTIVE = "active"
    PREPARING_FOR_MAINTENANCE = "preparing_for_maintenance", "preparing for maintenance"
    MAINTENANCE = "maintenance"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


class StorageDomain(Entity):
    """A place for disks. A local directory exists on every host of the data center by the same path, each its own."""

    OBJECT_TYPE = "storage_domain"
    GRANT_PATHS = {"storage_domain": "id", "data_center": "data_center_id"}

    data_center = models.ForeignKey(DataCenter, on_delete=models.PROTECT, related_name="storage_domains")
    kind = models.CharField(max_length=16, choices=StorageKind)
    path = models.CharField(max_length=1024)
    status = models.CharField(max_length=32, choices=StorageStatus, default=StorageStatus.ACTIVATING)
    status_reason = models.TextField(blank=True, default="")
    capacity_bytes = models.PositiveBigIntegerField(default=0)
    available_bytes = models.PositiveBigIntegerField(default=0)
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
    def is_shared(self) -> bool:
        return self.kind == StorageKind.SHARED_DIR


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
        """File names are ours: never what a user typed. A disk with snapshots writes into its newest layer."""
        return self.volume or f"{self.id}.{'iso' if self.content == DiskContent.ISO else self.format}"


from storage.disks.models import StrayVolume  # noqa: E402, F401  models of this app in modules of their own
from storage.images.models import Image, Upload  # noqa: E402, F401
