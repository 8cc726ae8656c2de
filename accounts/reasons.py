"""Why somebody may do something on an object: each permission with the grants that give it."""

from typing import Any

from accounts.managers import grants_in_force
from accounts.models import Grant, ObjectType, User
from accounts.objects import MODEL_OF, model_of
from accounts.permissions import ALL_PERMISSIONS, PERMISSIONS, on_object


def reasons(user: User, obj: Any = None) -> dict[str, list[Grant]]:
    """What the user holds on the object (None: the system), in the order of PERMISSIONS; nothing for who cannot sign in.

    Two queries, however many grants there are.
    """
    if not user.is_active:
        return {}
    grants = grants_in_force(user).filter(on_object(obj)).select_related("role", "user", "group").prefetch_related("role__permissions")
    found: dict[str, list[Grant]] = {permission: [] for permission in ALL_PERMISSIONS}
    for each in grants:
        for held in each.role.permissions.all():
            found.setdefault(held.permission, []).append(each)
    return {permission: because for permission, because in found.items() if because}


def kinds_under(object_type: str) -> list[str]:
    """The kinds of permission that can matter on such an object: its own, those of what lies below it, and its grants."""
    if object_type == ObjectType.SYSTEM:
        return list(PERMISSIONS)
    reached = {kind for kind in MODEL_OF if object_type in model_of(kind).GRANT_PATHS}  # type: ignore[attr-defined]
    return [kind for kind in PERMISSIONS if kind in reached | {"grant"}]
