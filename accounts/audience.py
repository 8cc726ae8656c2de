"""Which of many users may see an object, in a few queries however many they are: for what goes to every open page at once."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from accounts.managers import in_force
from accounts.models import Grant, Group, User
from accounts.objects import model_of
from accounts.permissions import on_object


def holders(permission: str, obj: Any, among: Collection[User]) -> set[UUID]:
    """The ids of those users for whom `permissions.allowed` says yes; `obj` None is the system."""
    able = {user.pk for user in among if user.is_active and (user.scope is None or permission in user.scope)}
    if not able:
        return set()
    grants = Grant.objects.filter(in_force()).filter(on_object(obj), role__permissions__permission=permission)
    members = Group.members.through.objects.filter(group__in=grants.filter(user=None).values("group"), user__in=able)
    return {*grants.filter(user__in=able).values_list("user", flat=True), *members.values_list("user", flat=True)}


def seers(object_type: str, object_id: str, among: Collection[User]) -> set[UUID]:
    """The ids of those users to whom the object is visible; nobody, when there is no such object.

    Raises KeyError for a type that no grant can sit on.
    """
    model = model_of(object_type)
    above = {path.rpartition("__")[0] for path in model.GRANT_PATHS.values()} - {""}  # type: ignore[attr-defined]
    rows = model._default_manager.filter(pk=object_id)
    obj = (rows.select_related(*above) if above else rows).first()
    return set() if obj is None else holders(f"{object_type}.view", obj, among)
