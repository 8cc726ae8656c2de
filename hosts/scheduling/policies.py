"""The predefined policies, and the verbs on those that administrators make of them."""

from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from hosts.scheduling.models import SchedulingPolicy
from hosts.scheduling.weights import WEIGHTS
from portal.errors import FieldError, NotPossible
from portal.names import valid_name, valid_text

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
_FIELDS = ("name", "description", "weights", "memory_overcommit", "cpu_overcommit", "spare_hosts")


def ensure_predefined() -> None:
    """Writes them as this version defines them; run after every migration. A name that an administrator took stays theirs."""
    for name, (description, weights) in PREDEFINED.items():
        own = SchedulingPolicy.objects.filter(name__iexact=name).first()
        if own is None or own.predefined:
            SchedulingPolicy.objects.update_or_create(
                name=name, defaults={"description": description, "weights": weights, "predefined": True}
            )


def save(actor: User, policy: SchedulingPolicy, weights: Mapping[str, int]) -> SchedulingPolicy:
    """Makes or changes one. Raises FieldError, NotPossible, PermissionDenied, ValidationError."""
    require(actor, "cluster.edit")
    if policy.predefined:
        raise NotPossible(f"{policy} is predefined: make a copy and change that.")
    if not set(weights) <= set(WEIGHTS) or not all(0 <= factor <= 10 for factor in weights.values()):
        raise FieldError("weights", "A factor is a number from 0 to 10.")
    policy.name, policy.description = valid_name(policy.name), valid_text(policy.description)
    policy.weights = {name: factor for name, factor in weights.items() if factor}
    policy.clean_fields(exclude=["weights"])
    created = policy._state.adding
    verb = "created" if created else "changed"
    try:
        with transaction.atomic():
            before = {} if created else audit.stored(policy, *_FIELDS)
            policy.rev += 1
            policy.save()
            change = audit.changes(before, audit.snapshot(policy, *_FIELDS))
            record(f"policy.{verb}", f"Scheduling policy {policy} was {verb}", obj=policy, user=actor, change=change)
    except IntegrityError:
        raise FieldError("name", f"There is a policy named {policy.name} already.") from None
    return policy


def remove(actor: User, policy: SchedulingPolicy) -> None:
    """Raises NotPossible for a predefined one, and while a cluster has it."""
    require(actor, "cluster.edit")
    if policy.predefined:
        raise NotPossible(f"{policy} is predefined and stays.")
    try:
        with transaction.atomic():
            record("policy.removed", f"Scheduling policy {policy} was removed", obj=policy, user=actor)
            policy.delete()
    except ProtectedError:
        names = ", ".join(policy.clusters.order_by("name").values_list("name", flat=True)[:5])
        raise NotPossible(f"{policy} is the policy of {names}: give them another first.") from None
