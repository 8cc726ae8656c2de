"""The one answer to "may this user do this?".

A permission is `<object type>.<verb>`. It is held on an object when a grant on that object, or on one above it
(see Entity.GRANT_PATHS), gives a role with that permission.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Q

from accounts.managers import grants_in_force, grants_of
from accounts.models import Grant, User

# Every permission there is, in the order in which pages show them.
PERMISSIONS: dict[str, tuple[str, ...]] = {
    "vm": ("view", "create", "edit", "delete", "start", "stop", "reboot", "pause", "migrate", "console", "snapshot", "adopt"),
    "template": ("view", "use", "create", "edit", "delete"),
    "pool": ("view", "use", "create", "edit", "delete"),
    "disk": ("view", "create", "attach", "edit", "delete", "download"),
    "network": ("view", "use", "create", "edit", "delete"),
    "storage_domain": ("view", "use", "create", "edit", "delete"),
    "host": ("view", "create", "edit", "delete", "maintain"),
    "cluster": ("view", "create", "edit", "delete"),
    "data_center": ("view", "create", "edit", "delete"),
    "quota": ("view", "manage"),
    "grant": ("view", "manage"),
    "user": ("view", "manage"),
    "role": ("view", "manage"),
    "system": ("view",),
}
ALL_PERMISSIONS: tuple[str, ...] = tuple(f"{kind}.{verb}" for kind, verbs in PERMISSIONS.items() for verb in verbs)


def _of(*kinds: str) -> set[str]:
    return {f"{kind}.{verb}" for kind in kinds for verb in PERMISSIONS[kind]}


_VIEW_ALL = {permission for permission in ALL_PERMISSIONS if permission.endswith(".view")}
_INVENTORY_VIEW = _VIEW_ALL - {"user.view", "role.view", "grant.view", "system.view"}
_RUN = {"vm.view", "vm.start", "vm.stop", "vm.reboot", "vm.pause", "vm.console"}

# oVirt's predefined roles: name -> (what it is for, its permissions).
PREDEFINED_ROLES: dict[str, tuple[str, frozenset[str]]] = {
    "SuperUser": ("Everything, everywhere.", frozenset(ALL_PERMISSIONS)),
    "ReadOnlyAdmin": ("Sees everything, changes nothing.", frozenset(_VIEW_ALL)),
    "DataCenterAdmin": (
        "Everything inside a data center.",
        frozenset(
            _of("vm", "template", "pool", "disk", "network", "storage_domain", "host", "cluster", "quota", "grant")
            | {"data_center.view", "data_center.edit"}
        ),
    ),
    "ClusterAdmin": (
        "Everything inside a cluster.",
        frozenset(
            _of("vm", "pool", "network", "host", "grant")
            | {"cluster.view", "cluster.edit"}
            | _INVENTORY_VIEW
            | {"template.use", "storage_domain.use", "disk.create", "disk.attach"}
        ),
    ),
    "HostAdmin": (
        "Adds, maintains and removes hosts.",
        frozenset(_of("host") | {"cluster.view", "data_center.view", "vm.view", "vm.adopt"}),
    ),
    "StorageAdmin": ("Manages storage domains and disks.", frozenset(_of("storage_domain", "disk") | {"data_center.view"})),
    "NetworkAdmin": ("Manages networks.", frozenset(_of("network") | {"cluster.view", "data_center.view"})),
    "TemplateAdmin": ("Manages templates.", frozenset(_of("template") | {"data_center.view", "disk.view"})),
    "UserRole": ("Runs a VM and uses its console.", frozenset(_RUN)),
    "UserVmRunTimeManager": (
        "Runs a VM and changes what it has while running.",
        frozenset(_RUN | {"vm.edit", "vm.snapshot", "disk.view", "disk.attach"}),
    ),
    "UserVmManager": (
        "Owns a VM: runs, edits, shares and removes it.",
        frozenset(
            _RUN
            | {"vm.edit", "vm.delete", "vm.snapshot", "grant.view", "grant.manage"}
            | {"disk.view", "disk.attach", "disk.edit", "disk.delete", "disk.download"}
        ),
    ),
    "VmCreator": (
        "Creates VMs and owns what they create.",
        frozenset({"vm.create", "cluster.view", "data_center.view", "network.view", "network.use", "storage_domain.use", "template.view"}),
    ),
    "TemplateCreator": ("Makes templates of VMs.", frozenset({"template.create", "template.view", "template.use"})),
    "DiskCreator": ("Creates disks.", frozenset({"disk.create", "storage_domain.view", "storage_domain.use"})),
    "PowerUserRole": (
        "Creates VMs, templates and disks, and owns what they create.",
        frozenset(
            {
                "vm.create",
                "template.create",
                "template.view",
                "template.use",
                "disk.create",
                "cluster.view",
                "data_center.view",
                "network.view",
                "network.use",
                "storage_domain.view",
                "storage_domain.use",
            }
        ),
    ),
    "VmPoolUser": ("Takes machines of a pool and gives them back.", frozenset({"pool.view", "pool.use"})),
    "TemplateUser": ("Creates VMs from a template.", frozenset({"template.view", "template.use"})),
}


def ancestors(obj: Any) -> dict[str, Any]:
    """Object type -> id of every object whose grants reach `obj`, itself included."""
    found = {}
    for object_type, path in type(obj).GRANT_PATHS.items():
        value = obj
        for name in path.split("__"):
            value = getattr(value, name) if value is not None else None
        if value is not None:
            found[object_type] = value
    return found


def on_object(obj: Any) -> Q:
    """A filter for the grants that reach the object (None: those on the system)."""
    condition = Q(object_type="system")
    if obj is not None:
        for object_type, object_id in ancestors(obj).items():
            condition |= Q(object_type=object_type, object_id=object_id)
    return condition


def allowed(user: Any, permission: str, obj: Any = None) -> bool:
    """True when the user holds the permission on the object, or on the whole system when there is none."""
    if not user.is_authenticated or not user.is_active:
        return False
    return grants_of(user, permission).filter(on_object(obj)).exists()


def effective(user: Any, obj: Any = None) -> frozenset[str]:
    """Every permission that the user holds on the object, in one query."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    grants = grants_in_force(user).filter(on_object(obj))
    return _within_scope(user, grants.values_list("role__permissions__permission", flat=True))


def effective_until(user: Any, obj: Any, end: datetime | None) -> frozenset[str]:
    """What the user holds on the object now and still holds at `end` (None: for ever)."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    lasting = Q(expires_at=None) if end is None else Q(expires_at=None) | Q(expires_at__gte=end)
    grants = grants_in_force(user).filter(on_object(obj)).filter(lasting)
    return _within_scope(user, grants.values_list("role__permissions__permission", flat=True))


def anywhere(user: Any) -> frozenset[str]:
    """Every permission that the user holds on anything: what the navigation offers."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    grants = grants_in_force(user)
    return _within_scope(user, grants.values_list("role__permissions__permission", flat=True).distinct())


def _within_scope(user: Any, permissions: Iterable[str]) -> frozenset[str]:
    """What an API token leaves of its bearer's permissions."""
    return frozenset(permissions) if user.scope is None else user.scope.intersection(permissions)


# Whoever holds one of these on anything has the administration's pages; everybody else has the portal.
ADMINISTRATIVE = frozenset(
    {"host.edit", "cluster.edit", "data_center.edit", "storage_domain.edit", "network.edit", "user.manage", "system.view"}
)


def is_administrator(user: Any) -> bool:
    """True when the user administers anything; the others see the self-service portal."""
    return not ADMINISTRATIVE.isdisjoint(anywhere(user))


class Refused(PermissionDenied):
    """Says what was tried, and on what: for the audit log."""

    def __init__(self, text: str, permission: str, obj: Any) -> None:
        super().__init__(text)
        self.permission = permission
        self.obj = obj


def require(user: Any, permission: str, obj: Any = None) -> None:
    """Raises Refused (a PermissionDenied), with a sentence for the user, unless `allowed`."""
    if not allowed(user, permission, obj):
        kind, verb = permission.split(".")
        where = f" on {obj}" if obj is not None else ""
        raise Refused(f"You may not {verb} this {kind.replace('_', ' ')}{where}: no grant gives you {permission}.", permission, obj)


def ensure_predefined_roles() -> None:
    """Writes the predefined roles as this version defines them; run after every migration."""
    from accounts.models import Role, RolePermission

    for name, (description, permissions) in PREDEFINED_ROLES.items():
        role, _ = Role.objects.update_or_create(name=name, defaults={"description": description, "predefined": True})
        have = set(role.permissions.values_list("permission", flat=True))
        role.permissions.exclude(permission__in=permissions).delete()
        RolePermission.objects.bulk_create(
            [RolePermission(role=role, permission=permission) for permission in sorted(permissions - have)], ignore_conflicts=True
        )


def grant(role_name: str, obj: Any = None, *, user: User | None = None, group: Any = None, by: User | None = None) -> Grant:
    """Gives a role on an object (None: the system). Giving it twice is giving it once, and without end."""
    from accounts.models import Role

    found, _ = Grant.objects.update_or_create(
        user=user,
        group=group,
        role=Role.objects.get(name=role_name),
        object_type=obj.OBJECT_TYPE if obj is not None else "system",
        object_id=obj.pk if obj is not None else None,
        defaults={"expires_at": None},
        create_defaults={"created_by": by},
    )
    return found
