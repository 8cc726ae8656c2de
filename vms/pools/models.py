"""Pools, after oVirt's."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower

from accounts.managers import VisibleManager
from hosts.models import Cluster
from portal.base import Entity

LARGEST = 500


class Pool(Entity):
    """So many VMs of one template. `keeper`: in whose name its VMs are made and started."""

    OBJECT_TYPE = "pool"
    GRANT_PATHS = {"pool": "id", "cluster": "cluster_id", "data_center": "cluster__data_center_id"}

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="pools")
    template = models.ForeignKey("vms.Template", on_delete=models.PROTECT, related_name="pools")
    keeper = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    size = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(LARGEST)])
    prestarted = models.PositiveSmallIntegerField(default=0, help_text="so many that nobody has run already")
    most_per_user = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    stateless = models.BooleanField(default=True, help_text="a machine that was given back is made anew")
    objects = VisibleManager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), "cluster", name="pool_name_unique")]
