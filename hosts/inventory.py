"""The verbs on data centers and clusters: rows only, so no job."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from hosts.models import Cluster, DataCenter
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name

_POLICIES = ("policy", "migration_policy")
# Settings of a cluster that forms have checked.
_NUMBERS = ("migrations_per_host", "migrations_at_once", "balancing", "moves_per_hour", "minimal_gain")


def create_data_center(user: User, name: str, description: str = "") -> DataCenter:
    """Raises PermissionDenied, FieldError (name taken)."""
    require(user, "data_center.create")
    data_center = DataCenter(name=valid_name(name), description=description.strip())
    return _save(user, data_center, "created", DataCenter.objects.all())


def edit_data_center(user: User, data_center: DataCenter, changes: Mapping[str, Any]) -> DataCenter:
    """Changes `name` or `description`. Raises PermissionDenied, FieldError."""
    require(user, "data_center.edit", data_center)
    _apply(data_center, changes, {"name", "description"})
    return _save(user, data_center, "edited", DataCenter.objects.all())


def remove_data_center(user: User, data_center: DataCenter) -> None:
    """Raises NotPossible while it has clusters, storage domains or templates."""
    require(user, "data_center.delete", data_center)
    _remove(user, data_center)


def create_cluster(user: User, data_center: DataCenter, name: str, cpu_model: str = "qemu64", description: str = "") -> Cluster:
    """Raises PermissionDenied, FieldError."""
    require(user, "cluster.create", data_center)
    cluster = Cluster(data_center=data_center, name=valid_name(name), description=description.strip(), cpu_model=valid_cpu_model(cpu_model))
    return _save(user, cluster, "created", data_center.clusters.all())


def edit_cluster(user: User, cluster: Cluster, changes: Mapping[str, Any]) -> Cluster:
    """Changes some of its fields; VMs get another `cpu_model` when they next start. Raises PermissionDenied, FieldError."""
    require(user, "cluster.edit", cluster)
    _apply(cluster, changes, {"name", "description", "cpu_model", *_POLICIES, *_NUMBERS})
    return _save(user, cluster, "edited", cluster.data_center.clusters.all())


def remove_cluster(user: User, cluster: Cluster) -> None:
    """Raises NotPossible while it has hosts, VMs or networks."""
    require(user, "cluster.delete", cluster)
    _remove(user, cluster)


def valid_cpu_model(text: str) -> str:
    """A CPU model's name as libvirt writes it. Raises FieldError."""
    text = text.strip()
    if not text or len(text) > 64 or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in text):
        raise FieldError("cpu_model", "This is not the name of a CPU model.")
    return text


def _apply(obj: DataCenter | Cluster, changes: Mapping[str, Any], editable: set[str]) -> None:
    for field, value in changes.items():
        if field not in editable:
            raise FieldError(field, "This cannot be changed.")
        clean = _CLEAN.get(field, str.strip)
        setattr(obj, field, clean(value))


def _as_it_is(value: Any) -> Any:
    """A row or a number, which the form has checked."""
    return value


# Field -> what makes of its input what is stored.
_CLEAN: dict[str, Callable[[Any], Any]] = {
    "name": valid_name,
    "cpu_model": valid_cpu_model,
    **dict.fromkeys((*_POLICIES, *_NUMBERS), _as_it_is),
}


def _save(user: User, obj: Any, what: str, siblings: Any) -> Any:
    kind = obj._meta.verbose_name
    taken = FieldError("name", f"A {kind} named {obj.name} exists already.")
    if siblings.exclude(pk=obj.pk).filter(name__iexact=obj.name).exists():
        raise taken
    obj.rev += 1
    names = ("name", "description", "cpu_model", "policy_id", "migration_policy_id", *_NUMBERS) if isinstance(obj, Cluster) else ("name", "description")
    change = audit.changes(audit.stored(obj, *names), audit.snapshot(obj, *names))
    try:
        with transaction.atomic():
            obj.save()
            publish(obj.OBJECT_TYPE, obj.pk, "added" if what == "created" else "changed", obj.rev)
            record(f"{obj.OBJECT_TYPE}.{what}", f"{kind.capitalize()} {obj.name} was {what}", obj=obj, user=user, change=change)
    except IntegrityError:
        raise taken from None
    return obj


def _remove(user: User, obj: Any) -> None:
    kind, key = obj._meta.verbose_name, obj.pk
    try:
        with transaction.atomic():
            record(f"{obj.OBJECT_TYPE}.removed", f"{kind.capitalize()} {obj.name} was removed", obj=obj, user=user)
            obj.delete()
            publish(obj.OBJECT_TYPE, key, "removed")
    except ProtectedError as error:
        first = next(iter(error.protected_objects))
        raise NotPossible(f"{obj.name} still has {first._meta.verbose_name} {first}: remove or move that first.") from None
