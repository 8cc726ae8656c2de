"""Logical networks."""

from django.db import models
from django.db.models.functions import Lower

from accounts.managers import VisibleManager
from hosts.models import Cluster
from portal.base import Entity


class Forward(models.TextChoices):
    ISOLATED = "isolated"
    NAT = "nat", "NAT"


class Network(Entity):
    """A libvirt network of the same name and addresses on every host of its cluster."""

    OBJECT_TYPE = "network"
    GRANT_PATHS = {"network": "id", "cluster": "cluster_id", "data_center": "cluster__data_center_id"}

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="networks")
    forward = models.CharField(max_length=16, choices=Forward, default=Forward.NAT)
    cidr = models.CharField(max_length=32, default="192.168.150.0/24", help_text="the gateway takes the first address, DHCP the rest")
    objects = VisibleManager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), "cluster", name="network_name_unique")]

    @property
    def libvirt_name(self) -> str:
        return f"vireo-{self.id}"

    @property
    def bridge(self) -> str:
        """A Linux interface name holds 15 characters."""
        return f"vr{self.id.hex[:10]}"
