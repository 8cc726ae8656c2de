"""Users, groups, roles and grants, and what a user may do on an object. By the same services as the pages."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja import Query, Router

from accounts import objects, roles, services
from accounts.models import Grant, Group, ObjectType, Role, User
from accounts.permissions import allowed, require
from accounts.reasons import reasons
from api.lookup import Paging, filtered, page_of
from api.people_schemas import Grantable, GrantIn, GrantOut, GroupOut, PermissionOut, RoleIn, RoleOut, RolePatch, UserOut
from api.schemas import Page, Problem
from portal.errors import FieldError

router = Router(tags=["People"])
REFUSED = {403: Problem, 404: Problem, 422: Problem}


@router.get("/users", response={200: Page[UserOut], 403: Problem}, summary="List users")
def list_users(request: HttpRequest, paging: Query[Paging], username: str | None = None) -> Any:
    require(request.user, "user.view")
    return page_of(filtered(User.objects.order_by("username"), {"username": username}), paging)


@router.get("/groups", response={200: Page[GroupOut], 403: Problem}, summary="List groups")
def list_groups(request: HttpRequest, paging: Query[Paging], name: str | None = None) -> Any:
    require(request.user, "user.view")
    return page_of(filtered(Group.objects.order_by("name").prefetch_related("members"), {"name": name}), paging)


def _roles() -> QuerySet[Role]:
    return Role.objects.order_by("name").prefetch_related("permissions")


@router.get("/roles", response={200: Page[RoleOut], 403: Problem}, summary="List roles")
def list_roles(request: HttpRequest, paging: Query[Paging], name: str | None = None) -> Any:
    require(request.user, "role.view")
    return page_of(filtered(_roles(), {"name": name}), paging)


@router.post("/roles", response={201: RoleOut, 403: Problem, 422: Problem}, summary="Make a role")
def create_role(request: HttpRequest, body: RoleIn) -> Any:
    """Its permissions are never more than what you hold on the whole system."""
    made = roles.save_role(request.user, Role(name=body.name, description=body.description), body.permissions)
    return 201, _roles().get(pk=made.pk)


@router.get("/roles/{uuid:pk}", response={200: RoleOut, 403: Problem, 404: Problem}, summary="Get a role")
def get_role(request: HttpRequest, pk: UUID) -> Any:
    require(request.user, "role.view")
    return _role(pk)


@router.patch("/roles/{uuid:pk}", response={200: RoleOut} | REFUSED, summary="Change a role")
def change_role(request: HttpRequest, pk: UUID, body: RolePatch) -> Any:
    require(request.user, "role.manage")
    role = _role(pk)
    role.name = body.name or role.name
    role.description = role.description if body.description is None else body.description
    permissions = [each.permission for each in role.permissions.all()] if body.permissions is None else body.permissions
    roles.save_role(request.user, role, permissions)
    return _role(pk)


@router.delete("/roles/{uuid:pk}", response={204: None} | REFUSED, summary="Remove a role that nobody holds")
def remove_role(request: HttpRequest, pk: UUID) -> Any:
    require(request.user, "role.manage")
    roles.delete_role(request.user, _role(pk))
    return 204, None


def _role(pk: UUID) -> Role:
    found = _roles().filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such role.")
    return found


@router.get("/grants", response={200: Page[GrantOut], 403: Problem}, summary="List grants")
def list_grants(
    request: HttpRequest,
    paging: Query[Paging],
    user: str | None = None,
    group: str | None = None,
    object_type: str | None = None,
    object_id: UUID | None = None,
) -> Any:
    """All of them with grant.view on the whole system; else name an object on which you hold it."""
    require(request.user, "grant.view", None if object_id is None else _object(request.user, object_type or "", object_id))
    rows = Grant.objects.select_related("role", "user", "group").order_by("created_at", "pk")
    rows = rows.filter(object_id=object_id) if object_id else rows
    return page_of(filtered(rows, {"user__username": user, "group__name": group, "object_type": object_type}), paging)


@router.post("/grants", response={201: GrantOut, 403: Problem, 404: Problem, 422: Problem}, summary="Give a role on an object")
def give(request: HttpRequest, body: GrantIn) -> Any:
    """To one user or one group, by name; without an object id on the whole system. Giving it again sets its end anew."""
    obj = None if body.object_type == ObjectType.SYSTEM else _object(request.user, body.object_type, body.object_id)
    require(request.user, "grant.manage", obj)
    role = _by_name(Role.objects.all(), "name", "role", body.role)
    user = _by_name(User.objects.filter(is_active=True), "username", "user", body.user) if body.user else None
    group = _by_name(Group.objects.all(), "name", "group", body.group) if body.group else None
    return 201, services.give(request.user, role, body.object_type, obj, user=user, group=group, expires_at=body.expires_at)


@router.delete("/grants/{uuid:pk}", response={204: None} | REFUSED, summary="Withdraw a grant")
def withdraw(request: HttpRequest, pk: UUID) -> Any:
    grant = Grant.objects.select_related("role", "user", "group").filter(pk=pk).first()
    if grant is None:
        raise Http404("There is no such grant.")
    services.withdraw(request.user, grant)
    return 204, None


@router.get("/permissions/{object_type}/{uuid:pk}", response={200: list[PermissionOut]} | REFUSED, summary="What may a user do, and why?")
def explain(request: HttpRequest, object_type: Grantable, pk: UUID, user: str | None = None) -> Any:
    """On one object: yours, or another user's with grant.view on it."""
    obj = _object(request.user, object_type, pk)
    asked = request.user
    if user is not None and user.casefold() != asked.username.casefold():  # type: ignore[union-attr]
        require(request.user, "grant.view", obj)
        asked = _by_name(User.objects.all(), "username", "user", user)
    found = reasons(asked, obj)  # type: ignore[arg-type]
    return [{"permission": permission, "because": because} for permission, because in found.items()]


def _object(user: Any, object_type: str, object_id: UUID | None) -> Any:
    """Raises Http404 for what does not exist, or not for this user."""
    try:
        obj = objects.find(object_type, object_id) if object_type in objects.MODEL_OF else None
    except ObjectDoesNotExist:
        obj = None
    if obj is None or not allowed(user, f"{object_type}.view", obj):
        raise Http404("There is no such object, or you may not see it.")
    return obj


def _by_name(rows: QuerySet, lookup: str, field: str, name: str) -> Any:
    found = rows.filter(**{f"{lookup}__iexact": name}).first()
    if found is None:
        raise FieldError(field, f"There is no {field} «{name[:100]}».")
    return found
