"""The objects that a grant can sit on: from (type, id) to the row."""

from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import models

from accounts.models import ObjectType

# Object type -> model label; the apps are not imported, for they import accounts.
MODEL_OF: dict[str, str] = {
    ObjectType.DATA_CENTER: "hosts.DataCenter",
    ObjectType.CLUSTER: "hosts.Cluster",
    ObjectType.HOST: "hosts.Host",
    ObjectType.STORAGE_DOMAIN: "storage.StorageDomain",
    ObjectType.NETWORK: "networks.Network",
    ObjectType.TEMPLATE: "vms.Template",
    ObjectType.VM: "vms.VM",
    ObjectType.DISK: "storage.Disk",
    ObjectType.POOL: "vms.Pool",
}


def model_of(object_type: str) -> type[models.Model]:
    """Raises KeyError for a type that no grant can sit on."""
    return apps.get_model(MODEL_OF[object_type])


def find(object_type: str, object_id: UUID | str | None) -> Any:
    """The object, or None for the system. Raises KeyError or DoesNotExist."""
    if object_type == ObjectType.SYSTEM:
        return None
    model = model_of(object_type)
    return model._default_manager.get(pk=object_id)


def url_of(object_type: str, object_id: UUID | None) -> str:
    """The page of an object; "" for the system."""
    return model_of(object_type)(pk=object_id).get_absolute_url() if object_id else ""  # type: ignore[attr-defined]


def names_of(keys: set[tuple[str, UUID]]) -> dict[tuple[str, UUID], str]:
    """The names of many objects, with one query per type."""
    found: dict[tuple[str, UUID], str] = {}
    for object_type in {key[0] for key in keys if key[0] in MODEL_OF}:
        ids = [key[1] for key in keys if key[0] == object_type]
        for pk, name in model_of(object_type)._default_manager.filter(pk__in=ids).values_list("pk", "name"):
            found[object_type, pk] = name
    return found
