"""Scheduling policies as data: an administrator clones one and changes the copy."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower

from hosts.policies import ClusterPolicy
from hosts.scheduling.world import Policy


class SchedulingPolicy(ClusterPolicy):
    """How a cluster wants its VMs spread. `weights`: name of hosts.scheduling.weights -> factor, 0 to 10."""

    OBJECT_TYPE = "scheduling_policy"

    weights = models.JSONField(default=dict, blank=True)
    memory_overcommit = models.PositiveSmallIntegerField(default=100, validators=[MinValueValidator(100), MaxValueValidator(400)])
    cpu_overcommit = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(100)], help_text="vCPUs for each CPU; 0: any number"
    )
    spare_hosts = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(16)])

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="scheduling_policy_name_unique")]

    def as_policy(self) -> Policy:
        return Policy(
            name=self.name,
            weights={name: float(factor) for name, factor in self.weights.items()},
            memory_overcommit=self.memory_overcommit,
            cpu_overcommit=float(self.cpu_overcommit),
            spare_hosts=self.spare_hosts,
        )
