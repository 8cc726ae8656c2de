"""Migration policies as data: an administrator clones one and changes the copy."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower

from hosts.policies import ClusterPolicy
from hypervisor.migration import MigrationOptions

FASTEST_MIB, LONGEST_DOWNTIME_MS, LATEST_POST_COPY_S = 1 << 20, 60_000, 24 * 3600


class MigrationPolicy(ClusterPolicy):
    """How a cluster's VMs are moved, unless who moves one says otherwise; the fields are those of MigrationOptions."""

    OBJECT_TYPE = "migration_policy"

    bandwidth_mib = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(FASTEST_MIB)])
    downtime_ms = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(LONGEST_DOWNTIME_MS)])
    auto_converge = models.BooleanField(default=True)
    compress = models.BooleanField(default=False)
    post_copy = models.BooleanField(default=False)
    post_copy_after_s = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(1), MaxValueValidator(LATEST_POST_COPY_S)]
    )

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="migration_policy_name_unique")]

    @property
    def options(self) -> MigrationOptions:
        return MigrationOptions(**{name: getattr(self, name) for name in MigrationOptions.__dataclass_fields__})
