"""Quotas, their limits, and who holds them. Whether they hold is the data center's `quota_mode`, as in oVirt.

The mode belongs to the data center because «enforced» is a promise about everything in it: that nothing runs or lies there
without a quota. A mode for each quota would leave open what holds for a user who has none.
"""

import uuid

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.managers import VisibleQuerySet
from portal.base import Entity

MOST_GRACE = 1000
LARGEST_AMOUNT = 2**62


class QuotaQuerySet(VisibleQuerySet):
    def held_by(self, user: models.Model) -> "QuotaQuerySet":
        """Quotas that the user holds, by themselves or through a group."""
        holders = QuotaHolder.objects.filter(Q(user=user) | Q(group__members=user))
        return self.filter(pk__in=holders.values("quota_id"))

    def usable_by(self, user: models.Model) -> "QuotaQuerySet":
        """Quotas that the user may choose for what they make: their own, and those that they manage."""
        return (self.held_by(user) | self.visible_to(user, "quota.manage")).distinct()

    def seen_by(self, user: models.Model) -> "QuotaQuerySet":
        """Those that the user may view, and their own."""
        return (self.visible_to(user) | self.held_by(user)).distinct()


class Quota(Entity):
    """A share of a data center. Threshold and grace are percents of each limit: where it warns, and how far above it lets."""

    OBJECT_TYPE = "quota"
    GRANT_PATHS = {"data_center": "data_center_id"}

    data_center = models.ForeignKey("hosts.DataCenter", on_delete=models.CASCADE, related_name="quotas")
    compute_threshold = models.PositiveSmallIntegerField(default=80, validators=[MaxValueValidator(100)])
    compute_grace = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(MOST_GRACE)])
    storage_threshold = models.PositiveSmallIntegerField(default=80, validators=[MaxValueValidator(100)])
    storage_grace = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(MOST_GRACE)])
    objects = models.Manager.from_queryset(QuotaQuerySet)()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), "data_center", name="quota_name_unique")]


class Resource(models.TextChoices):
    """What is limited; see accounts.quotas.usage for how each is counted, .words for how it is written."""

    VMS = "vms", "VMs"
    VCPUS = "vcpus", "vCPUs"
    MEMORY = "memory_mib", "Memory"
    STORAGE = "storage_bytes", "Storage"
    SNAPSHOTS = "snapshots", "Snapshots"


class QuotaLimit(models.Model):
    """At most `amount` of a resource: in the whole data center, or in one cluster or storage domain. No row: no limit."""

    quota = models.ForeignKey(Quota, on_delete=models.CASCADE, related_name="limits")
    resource = models.CharField(max_length=16, choices=Resource)
    cluster = models.ForeignKey("hosts.Cluster", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    storage_domain = models.ForeignKey("storage.StorageDomain", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    amount = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(resource="storage_bytes", cluster__isnull=True)
                | (~Q(resource="storage_bytes") & Q(storage_domain__isnull=True)),
                name="quota_limit_fits_its_place",
            ),
            # Three, because SQL counts each NULL as different from every other.
            models.UniqueConstraint(fields=["quota", "resource"], condition=Q(cluster=None, storage_domain=None), name="quota_limit_once"),
            models.UniqueConstraint(fields=["quota", "resource", "cluster"], name="quota_limit_cluster_once"),
            models.UniqueConstraint(fields=["quota", "storage_domain"], name="quota_limit_storage_domain_once"),
        ]

    def __str__(self) -> str:
        from accounts.quotas import words  # it imports this module

        return f"{words.counted(self.resource, self.amount)}{words.place(self)}"


class QuotaHolder(models.Model):
    """Who may take from the quota."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    quota = models.ForeignKey(Quota, on_delete=models.CASCADE, related_name="holders")
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.CASCADE, related_name="quotas_held")
    group = models.ForeignKey("accounts.Group", null=True, on_delete=models.CASCADE, related_name="quotas_held")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True) | Q(user__isnull=True, group__isnull=False),
                name="quota_holder_user_or_group",
            ),
            models.UniqueConstraint(fields=["quota", "user"], name="quota_holder_user_once"),
            models.UniqueConstraint(fields=["quota", "group"], name="quota_holder_group_once"),
        ]

    def __str__(self) -> str:
        return str(self.user or self.group)
