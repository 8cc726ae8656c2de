"""Who may stand in for whom: handing over what others hold takes holding all of it oneself."""

from collections import defaultdict
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db.models import Q, QuerySet

from accounts import objects
from accounts.models import Grant, Group, User
from accounts.permissions import effective


def require_reach(actor: User, grants: QuerySet[Grant], what: str) -> None:
    """Raises PermissionDenied unless the actor holds every permission that these grants give, where they give it.

    Args:
        what: the end of the sentence "You may not …".
    """
    everywhere = effective(actor)
    given: dict[tuple[str, Any], set[str]] = defaultdict(set)
    for object_type, object_id, permission in grants.values_list("object_type", "object_id", "role__permissions__permission").distinct():
        if permission and permission not in everywhere:
            given[object_type, object_id].add(permission)
    for (object_type, object_id), permissions in given.items():
        missing = permissions - _held(actor, object_type, object_id)
        if missing:
            raise PermissionDenied(f"You may not {what}: you do not hold {', '.join(sorted(missing)[:3])} yourself.")


def _held(actor: User, object_type: str, object_id: Any) -> frozenset[str]:
    try:
        return effective(actor, objects.find(object_type, object_id))
    except (KeyError, ObjectDoesNotExist):
        return frozenset()  # the object is gone: who holds it everywhere was let through above


def grants_of_group(group: Group) -> QuerySet[Grant]:
    return Grant.objects.filter(group=group)


def grants_of_users(users: QuerySet[User]) -> QuerySet[Grant]:
    """What these users hold, themselves and through their groups."""
    return Grant.objects.filter(Q(user__in=users) | Q(group__members__in=users))
