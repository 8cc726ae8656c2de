"""Decisions of the scheduler, and affinity groups."""

import uuid

from django.db import models
from django.db.models.functions import Lower

from hosts.models import Cluster, Host
from portal.base import Entity


class PlacementDecision(models.Model):
    """Which host, and why. While its job runs it is a reservation: the memory that it promised is not given away twice.

    `verdicts`: of each host, best first: name, refused_by, reason, scores, total; see hosts.scheduling.choose.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    vm = models.ForeignKey("vms.VM", on_delete=models.CASCADE, related_name="decisions")
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="decisions")
    job = models.ForeignKey("jobs.Job", null=True, on_delete=models.SET_NULL, related_name="+")
    host = models.ForeignKey(Host, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    policy = models.CharField(max_length=255)
    stays = models.BooleanField(default=False, help_text="it was defined there, and nothing spoke against it")
    weights = models.JSONField(default=list)
    verdicts = models.JSONField(default=list)
    left_out = models.PositiveIntegerField(default=0, help_text="hosts of a large cluster that are not in the list")

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["vm", "-at"])]

    def __str__(self) -> str:
        return f"{self.vm} on {self.host or 'no host'}"


class AffinityGroup(Entity):
    """VMs that run together on one host, or each on another."""

    OBJECT_TYPE = "affinity_group"

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="affinity_groups")
    positive = models.BooleanField(default=False)
    hard = models.BooleanField(default=True)
    vms = models.ManyToManyField("vms.VM", related_name="affinity_groups", blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), "cluster", name="affinity_group_name_unique")]
