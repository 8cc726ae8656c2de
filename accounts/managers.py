"""`visible_to`: which rows of an inventory model a user may see, in one query however many grants there are."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Exists, Min, Q, QuerySet
from django.utils import timezone

if TYPE_CHECKING:
    from datetime import datetime

    from accounts.models import User


def in_force() -> Q:
    """A filter for the grants that have not ended."""
    return Q(expires_at=None) | Q(expires_at__gt=timezone.now())


def grants_in_force(user: "User") -> "QuerySet[Any]":
    """The grants, own or through a group, that have not ended."""
    from accounts.models import Grant, Group

    # A subquery, not a join: no grant comes twice, and both sides of the OR have an index.
    groups = Group.members.through.objects.filter(user=user).values("group")
    return Grant.objects.filter(Q(user=user) | Q(group__in=groups)).filter(in_force())


def next_end(user: "User") -> "datetime | None":
    """When the next of the user's grants ends."""
    return grants_in_force(user).aggregate(at=Min("expires_at"))["at"]


def grants_of(user: "User", permission: str) -> "QuerySet[Any]":
    """Those in force whose role holds the permission; none where an API token leaves it out."""
    from accounts.models import Grant

    if user.scope is not None and permission not in user.scope:
        return Grant.objects.none()
    return grants_in_force(user).filter(role__permissions__permission=permission)


def reachable(model: type[models.Model], user: "User", permission: str) -> Q:
    """A filter for the rows of `model` on which the user holds the permission, directly or from above."""
    grants = grants_of(user, permission)
    condition = Q(Exists(grants.filter(object_type="system")))
    for object_type, path in model.GRANT_PATHS.items():  # type: ignore[attr-defined]
        condition |= Q(**{f"{path}__in": grants.filter(object_type=object_type).values("object_id")})
    return condition


class VisibleQuerySet(QuerySet):
    def visible_to(self, user: "User", permission: str = "") -> "VisibleQuerySet":
        """Rows on which the user holds `permission`, by default the model's own view permission."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        permission = permission or f"{self.model.OBJECT_TYPE}.view"
        return self.filter(reachable(self.model, user, permission))


VisibleManager = models.Manager.from_queryset(VisibleQuerySet)
