"""The predefined policies, and the verbs on those that administrators make of them."""

from collections.abc import Mapping

from accounts.models import User
from hosts import policies
from hosts.scheduling.models import SchedulingPolicy
from hosts.scheduling.weights import WEIGHTS
from portal.errors import FieldError

DEFAULT = "Even"
# Name -> what it is for, and its weights.
PREDEFINED: dict[str, tuple[str, dict[str, int]]] = {
    "Even": ("Spreads memory and CPU evenly.", {"even": 4, "affinity": 4, "ha_spread": 1}),
    "Packed": ("Fills hosts one after the other, so that others can be switched off.", {"packed": 4, "affinity": 4}),
    "By guests": ("The same number of VMs on each host.", {"guests": 4, "affinity": 4}),
    "None": ("The first host by name that fits.", {}),
}
# Weight -> how a page says it.
WORDS = {
    "even": "Spread the load",
    "packed": "Fill hosts one by one",
    "guests": "Few VMs",
    "priority": "Away from important VMs",
    "ha_spread": "Highly available VMs apart",
    "affinity": "Soft affinity",
    "stay": "Stay where it ran last",
}


def ensure_predefined() -> None:
    """Run after every migration."""
    values = {name: {"description": description, "weights": weights} for name, (description, weights) in PREDEFINED.items()}
    policies.ensure(SchedulingPolicy, values)


def save(actor: User, policy: SchedulingPolicy, weights: Mapping[str, int]) -> SchedulingPolicy:
    """Makes or changes one. Raises FieldError, NotPossible, PermissionDenied, ValidationError."""
    if not set(weights) <= set(WEIGHTS) or not all(0 <= factor <= 10 for factor in weights.values()):
        raise FieldError("weights", "A factor is a number from 0 to 10.")
    if not policy.predefined:
        policy.weights = {name: factor for name, factor in weights.items() if factor}
    return policies.save(actor, policy, "weights", "memory_overcommit", "cpu_overcommit", "spare_hosts")
