"""The verbs on users, groups and grants. Each checks the permission of who asks, and leaves an event."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Grant, Group, ObjectType, Role, User
from accounts.permissions import effective_until, require
from accounts.reach import grants_of_group, grants_of_users, require_reach
from accounts.sessions.services import end_all
from audit import log as audit
from events.log import record
from portal.live import publish_to
from portal.names import valid_name


class LastSuperUser(ValidationError):
    """What was asked for would leave nobody who can administer the system."""

    def __init__(self) -> None:
        super().__init__("This would leave no active SuperUser. Grant SuperUser to somebody else first.")


def create_user(actor: User, username: str, password: str, *, full_name: str = "", email: str = "") -> User:
    """Raises ValidationError with the field at fault."""
    require(actor, "user.manage")
    username = valid_name(username, "username")
    if User.objects.filter(username__iexact=username).exists():
        raise ValidationError({"username": f"A user named {username} exists already."})
    user = User(username=username, full_name=full_name and valid_name(full_name, "full_name"), email=email)
    _check_password(password, user)
    user.set_password(password)
    user.full_clean(exclude=["password"])
    with transaction.atomic():
        user.save()
        change = audit.Change({}, audit.snapshot(user, "username", "full_name", "email"))
        record("user.created", f"User {username} was created", obj=user, user=actor, change=change)
    return user


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from None


def set_password(actor: User, user: User, password: str) -> None:
    """For oneself, or for another with user.manage. Ends no session but, by Django's session hash, all of them."""
    if actor.pk != user.pk:
        require(actor, "user.manage")
        require_reach(actor, grants_of_users(User.objects.filter(pk=user.pk)), f"set the password of {user}")
    if user.is_service:
        raise ValidationError({"password": f"{user} is a service account: it signs in by tokens alone."})
    if user.source_id is not None:
        raise ValidationError({"password": f"The password of {user} is kept by {user.source}: change it there."})
    _check_password(password, user)
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password"])
        record("user.password_set", f"The password of {user} was set", obj=user, user=actor)


def set_active(actor: User, user: User, active: bool) -> None:
    """Nobody shuts out, or lets in again, who holds more than they do."""
    require(actor, "user.manage")
    require_reach(actor, grants_of_users(User.objects.filter(pk=user.pk)), f"{'activate' if active else 'deactivate'} {user}")
    with transaction.atomic():
        before = audit.stored(user, "is_active")
        user.is_active = active
        user.save(update_fields=["is_active"])
        _keep_a_super_user()
        record(
            "user.activated" if active else "user.deactivated",
            f"User {user} was {'activated' if active else 'deactivated'}",
            obj=user,
            user=actor,
            change=audit.changes(before, {"is_active": active}),
        )
    if not active:
        end_all(actor, user)
    _recheck([user])


def delete_user(actor: User, user: User) -> None:
    require(actor, "user.manage")
    if actor.pk == user.pk:
        raise ValidationError("You cannot remove yourself.")
    require_reach(actor, grants_of_users(User.objects.filter(pk=user.pk)), f"remove {user}")
    members = [user]
    with transaction.atomic():
        change = audit.Change(audit.snapshot(user, "username", "full_name", "email", "is_active"), {})
        record("user.removed", f"User {user} was removed", obj=user, user=actor, change=change)
        user_id = user.pk
        user.delete()
        _keep_a_super_user()
    user.pk = user_id
    _recheck(members)


def save_group(actor: User, group: Group, members: list[User]) -> Group:
    """Creates or changes a group. Its members gain and lose what is granted to it, so who has no right to grant that cannot add to it."""
    require(actor, "user.manage")
    group.name = valid_name(group.name)
    clash = Group.objects.filter(name__iexact=group.name).exclude(pk=group.pk)
    if clash.exists():
        raise ValidationError({"name": f"A group named {group.name} exists already."})
    group.full_clean()
    with transaction.atomic():
        before = set(group.members.all()) if not group._state.adding else set()
        stored = audit.stored(group, "name", "description", "require_second_factor") | {"members": _names(before)}
        demanded = Group.objects.filter(pk=group.pk, require_second_factor=True).exists()
        for held in Grant.objects.filter(group=group).select_related("role"):
            _require_holding(actor, held.role, _object_of(held), held.expires_at)
        group.save()
        group.members.set(members)
        _keep_a_super_user()
        now = audit.snapshot(group, "name", "description", "require_second_factor") | {"members": _names(members)}
        record("group.changed", f"Group {group} has {len(members)} members", obj=group, user=actor, change=audit.changes(stored, now))
    # What members without a second factor have open closes when it is demanded of them.
    _recheck(before ^ set(members) if demanded == group.require_second_factor else before | set(members))
    return group


def delete_group(actor: User, group: Group) -> None:
    """What was granted to the group goes with it: only for who holds all of it."""
    require(actor, "user.manage")
    require_reach(actor, grants_of_group(group), f"remove {group}")
    members = list(group.members.all())
    with transaction.atomic():
        change = audit.Change({"name": group.name, "members": _names(members)}, {})
        record("group.removed", f"Group {group} was removed", obj=group, user=actor, change=change)
        group.delete()
        _keep_a_super_user()
    _recheck(members)


def give(
    actor: User,
    role: Role,
    object_type: str,
    obj: Any,
    *,
    user: User | None = None,
    group: Group | None = None,
    expires_at: datetime | None = None,
) -> Grant:
    """Grants a role on an object (None: the system), until `expires_at`. Nobody grants more, or for longer, than they hold there.

    Giving it again sets its end anew.
    """
    require(actor, "grant.manage", obj)
    _require_holding(actor, role, obj, expires_at)
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "This end has passed already."})
    if (user is None) == (group is None):
        raise ValidationError("A grant goes to one user or to one group.")
    with transaction.atomic():
        made, created = Grant.objects.get_or_create(
            user=user,
            group=group,
            role=role,
            object_type=object_type,
            object_id=obj.pk if obj is not None else None,
            defaults={"created_by": actor, "expires_at": expires_at},
        )
        if created or made.expires_at != expires_at:
            before = {} if created else _facts_of(made)
            Grant.objects.filter(pk=made.pk).update(expires_at=expires_at)
            made.expires_at = expires_at
            where = obj if obj is not None else "the whole system"
            until = f" until {expires_at:%Y-%m-%d %H:%M %Z}" if expires_at else ""
            change = audit.changes(before, _facts_of(made))
            record("grant.given", f"{role} on {where} was given to {user or group}{until}", obj=obj, user=actor, change=change)
            if not created:
                _keep_a_super_user()
    _recheck([user] if user else group.members.all() if group else [])
    return made


def withdraw(actor: User, grant: Grant) -> None:
    """Takes a grant back; open pages and consoles that stood on it close by themselves."""
    obj = _object_of(grant)
    require(actor, "grant.manage", obj)
    holders = [grant.user] if grant.user else list(grant.group.members.all()) if grant.group else []
    with transaction.atomic():
        record(
            "grant.withdrawn",
            f"{grant.role} on {obj or 'the whole system'} was withdrawn from {grant.user or grant.group}",
            obj=obj,
            user=actor,
            change=audit.Change(_facts_of(grant), {}),
        )
        grant.delete()
        _keep_a_super_user()
    _recheck(holders)


def _names(users: Iterable[User]) -> list[str]:
    return sorted(user.username for user in users)


def _facts_of(grant: Grant) -> dict[str, Any]:
    """A grant, for the audit log."""
    return {"role": grant.role.name, "user": str(grant.user or ""), "group": str(grant.group or ""), "until": grant.expires_at}


def _object_of(grant: Grant) -> Any:
    from accounts.objects import find, model_of

    try:
        return find(grant.object_type, grant.object_id)
    except model_of(grant.object_type).DoesNotExist:  # type: ignore[attr-defined]
        return None  # the object is gone: only who manages the system may clear the grant


def _require_holding(actor: User, role: Role, obj: Any, until: datetime | None) -> None:
    missing = set(role.permissions.values_list("permission", flat=True)) - effective_until(actor, obj, until)
    if missing:
        raise PermissionDenied(f"You cannot grant {role}: you do not hold {', '.join(sorted(missing)[:3])} yourself for so long.")


def _keep_a_super_user() -> None:
    """Called inside the transaction that changed something; raising undoes it."""
    supers = Grant.objects.filter(role__name="SuperUser", object_type=ObjectType.SYSTEM, expires_at=None)
    if not supers.filter(Q(user__is_active=True) | Q(group__members__is_active=True)).exists():
        raise LastSuperUser


def _recheck(users: Any) -> None:
    for user in users:
        publish_to(f"user:{user.pk}", {"type": "live.recheck"})
