"""The verbs that all kinds of policies share: the predefined ones stay as they are, administrators make copies of them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db import IntegrityError, models, transaction
from django.db.models import ProtectedError
from django.utils.text import capfirst

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from portal.base import Entity
from portal.errors import FieldError, NotPossible
from portal.names import valid_name, valid_text


class ClusterPolicy(Entity):
    """What clusters follow in some matter. Args: predefined: written by this version of Vireo, and changed by nobody."""

    predefined = models.BooleanField(default=False, editable=False)

    class Meta:
        abstract = True


P = TypeVar("P", bound=ClusterPolicy)


def ensure(model: type[ClusterPolicy], predefined: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes them as this version defines them; run after every migration. A name that an administrator took stays theirs."""
    for name, values in predefined.items():
        own = model._default_manager.filter(name__iexact=name).first()
        if own is None or own.predefined:
            model._default_manager.update_or_create(name=name, defaults={**values, "predefined": True})


def save(actor: User, policy: P, *fields: str) -> P:
    """Makes or changes one; `fields`: what its audit entry compares beside name and description.

    Raises:
        PermissionDenied, FieldError, ValidationError.
        NotPossible: it is predefined.
    """
    require(actor, "cluster.edit")
    if policy.predefined:
        raise NotPossible(f"{policy} is predefined: make a copy and change that.")
    policy.name, policy.description = valid_name(policy.name), valid_text(policy.description)
    policy.clean_fields()
    created = policy._state.adding
    verb, kind = "created" if created else "changed", capfirst(policy._meta.verbose_name)
    names = ("name", "description", *fields)
    try:
        with transaction.atomic():
            before = {} if created else audit.stored(policy, *names)
            policy.rev += 1
            policy.save()
            change = audit.changes(before, audit.snapshot(policy, *names))
            record(f"policy.{verb}", f"{kind} {policy} was {verb}", obj=policy, user=actor, change=change)
    except IntegrityError:
        raise FieldError("name", f"There is a policy named {policy.name} already.") from None
    return policy


def remove(actor: User, policy: ClusterPolicy) -> None:
    """Raises PermissionDenied; NotPossible for a predefined one, and while a cluster has it."""
    require(actor, "cluster.edit")
    if policy.predefined:
        raise NotPossible(f"{policy} is predefined and stays.")
    try:
        with transaction.atomic():
            record("policy.removed", f"{capfirst(policy._meta.verbose_name)} {policy} was removed", obj=policy, user=actor)
            policy.delete()
    except ProtectedError as error:
        names = ", ".join(sorted(cluster.name for cluster in error.protected_objects)[:5])
        raise NotPossible(f"{policy} is the policy of {names}: give them another first.") from None
