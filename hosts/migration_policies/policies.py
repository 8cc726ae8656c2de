"""The predefined migration policies, and what a cluster without one does."""

from dataclasses import asdict
from typing import Any

from hosts import policies
from hosts.migration_policies.models import MigrationPolicy
from hosts.models import Cluster
from hypervisor.migration import MigrationOptions

DEFAULT = "Careful"
PREDEFINED: dict[str, tuple[str, MigrationOptions]] = {
    "Careful": ("As fast as the network is; a guest that writes too fast is slowed down. Any failure leaves it where it is.", MigrationOptions()),
    "Unnoticed": (
        "Stands still for a twentieth of a second at most, and is never slowed down. One that writes too fast may not arrive.",
        MigrationOptions(downtime_ms=50, auto_converge=False),
    ),
    "Narrow network": ("At most 64 MiB a second, compressed.", MigrationOptions(bandwidth_mib=64, compress=True)),
    "Always ends": (
        "After a minute it goes on at the target and fetches the rest: a network that fails in that phase loses the guest's memory.",
        MigrationOptions(post_copy=True),
    ),
}


def ensure_predefined() -> None:
    """Run after every migration."""
    values: dict[str, dict[str, Any]] = {
        name: {"description": description, **asdict(options)} for name, (description, options) in PREDEFINED.items()
    }
    policies.ensure(MigrationPolicy, values)


def options_of(cluster: Cluster) -> MigrationOptions:
    """As its VMs are moved when nobody says otherwise."""
    policy = cluster.migration_policy
    return policy.options if policy is not None else PREDEFINED[DEFAULT][1]
