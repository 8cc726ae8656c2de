"""The verbs on roles. A role's permissions are never more than what its editor holds on the whole system."""

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q

from accounts.models import Role, RolePermission, User
from accounts.permissions import ALL_PERMISSIONS, effective_until, require
from accounts.services import _recheck
from audit import log as audit
from events.log import record
from portal.names import valid_name


def save_role(actor: User, role: Role, permissions: Iterable[str]) -> Role:
    """Creates or changes an own role.

    A role may be granted anywhere, now or later, so whoever adds a permission must hold it everywhere: then nobody
    comes by it above what the editor holds. Raises ValidationError with the field at fault.
    """
    require(actor, "role.manage")
    wanted = set(permissions)
    if unknown := wanted - set(ALL_PERMISSIONS):
        raise ValidationError({"permissions": f"There is no permission {min(unknown)[:64]}."})
    if not wanted:
        raise ValidationError({"permissions": "Choose at least one permission."})
    role.name = valid_name(role.name)
    with transaction.atomic():
        have = _locked(role)
        _require_held(actor, wanted - have)
        if Role.objects.filter(name__iexact=role.name).exclude(pk=role.pk).exists():
            raise ValidationError({"name": f"A role named {role.name} exists already."})
        role.full_clean(validate_constraints=False)
        verb = "created" if role._state.adding else "changed"
        before = audit.stored(role, "name", "description") | ({"permissions": sorted(have)} if have else {})
        change = audit.changes(before, audit.snapshot(role, "name", "description") | {"permissions": sorted(wanted)})
        role.save()
        role.permissions.exclude(permission__in=wanted).delete()
        RolePermission.objects.bulk_create([RolePermission(role=role, permission=each) for each in sorted(wanted - have)])
        record(
            f"role.{verb}",
            f"Role {role} was {verb}",
            obj=role,
            user=actor,
            details={"added": sorted(wanted - have), "removed": sorted(have - wanted)},
            change=change,
        )
    if have != wanted:
        _recheck(holders(role))
    return role


def delete_role(actor: User, role: Role) -> None:
    """Removes an own role that nobody holds."""
    require(actor, "role.manage")
    with transaction.atomic():
        _locked(role)
        if count := role.grants.count():
            raise ValidationError(f"{role} is in use: {count} grant{' gives' if count == 1 else 's give'} it. Withdraw them first.")
        record("role.removed", f"Role {role} was removed", obj=role, user=actor)
        role.delete()


def holders(role: Role) -> list[User]:
    """Who holds the role on anything, directly or through a group."""
    return list(User.objects.filter(Q(grants__role=role) | Q(member_of__grants__role=role)).distinct())


def _locked(role: Role) -> set[str]:
    """The role's permissions as stored, its row held until the transaction ends; refuses a predefined role."""
    if role._state.adding:
        return set()
    stored = Role.objects.select_for_update().get(pk=role.pk)
    if stored.predefined:
        raise ValidationError(f"{stored.name} is predefined and cannot be changed. Make a copy of it instead.")
    return set(stored.permissions.values_list("permission", flat=True))


def _require_held(actor: User, added: set[str]) -> None:
    missing = sorted(added - effective_until(actor, None, None))
    if missing:
        raise PermissionDenied(
            f"You cannot put {', '.join(missing[:3])} into a role: you do not hold "
            f"{'it' if len(missing) == 1 else 'them'} on the whole system without end."
        )
