"""Sharing a VM: one of three roles on it, for a colleague or for a group that one is in oneself."""

from uuid import UUID

from django.db.models import QuerySet

from accounts import services as people
from accounts.models import Grant, Group, Role, User
from accounts.permissions import is_administrator, require
from portal.errors import FieldError, NotPossible
from portal.names import plain
from vms.models import VM

# Role -> what it lets a colleague do, in the words of the page.
ROLES: dict[str, str] = {
    "UserRole": "may use it: run, shut down, console",
    "UserVmRunTimeManager": "may use it and change its size",
    "UserVmManager": "may do everything, sharing and removing too",
}


def share(actor: User, vm: VM, role_name: str, who: str) -> Grant:
    """Gives the role on the VM.

    Args:
        who: a user's name, or the name of a group that the actor is in.

    Raises:
        PermissionDenied: the actor may not grant on this VM, or does not hold what the role has.
        FieldError: no such role, user or group.
    """
    require(actor, "grant.manage", vm)
    if role_name not in ROLES:
        raise FieldError("role", "Choose what they may do.")
    role = Role.objects.get(name=role_name)
    who = plain(who)
    if not who:
        raise FieldError("who", "Whom do you share it with? Write a user name, or a group that you are in.")
    user = User.objects.filter(username__iexact=who, is_active=True).first()
    if user is not None:
        if user.pk == actor.pk:
            raise FieldError("who", "This is you.")
        return people.give(actor, role, vm.OBJECT_TYPE, vm, user=user)
    group = groups_of(actor).filter(name__iexact=who).first()
    if group is None:
        raise FieldError("who", f"There is no user named {who}, and you are in no group of this name.")
    return people.give(actor, role, vm.OBJECT_TYPE, vm, group=group)


def groups_of(user: User) -> QuerySet[Group]:
    """The groups that the user may share with: an administrator knows all of them, everybody else their own."""
    return Group.objects.all() if is_administrator(user) else Group.objects.filter(members=user)


def shares(vm: VM) -> list[Grant]:
    """The grants on the VM itself, its owner's first."""
    found = Grant.objects.filter(object_type=vm.OBJECT_TYPE, object_id=vm.pk).select_related("role", "user", "group")
    return sorted(found, key=lambda grant: (grant.user_id != vm.owner_id, str(grant.user or grant.group)))


def unshare(actor: User, vm: VM, grant_id: UUID) -> None:
    """Takes a share back. The owner's and one's own stay: nobody is locked out of their machine by a slip.

    Raises:
        PermissionDenied, NotPossible, Grant.DoesNotExist (not a grant on this VM).
    """
    require(actor, "grant.manage", vm)
    grant = Grant.objects.select_related("role", "user", "group").get(pk=grant_id, object_type=vm.OBJECT_TYPE, object_id=vm.pk)
    if grant.user_id is not None and not is_administrator(actor):
        if grant.user_id == vm.owner_id:
            raise NotPossible(f"{vm.name} belongs to {grant.user}: an administrator can give it to somebody else.")
        if grant.user_id == actor.pk:
            raise NotPossible("This is your own role on the machine: ask its owner to take it back.")
    people.withdraw(actor, grant)
