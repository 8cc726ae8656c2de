"""Templates as rows: their versions, who uses them, changing them. Making and removing them are verbs of vms.services."""

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name, valid_text
from storage.models import DiskStatus
from vms.guest.settings import SetUpBy
from vms.models import Template
from vms.services import MEMORY_MIB, OS_LENGTH, VCPUS

FIELDS = ("name", "description", "memory_mib", "vcpus", "os", "set_up_by")


def versions_of(template: Template) -> QuerySet[Template]:
    """All versions of the template, the newest first."""
    return Template.objects.filter(data_center=template.data_center_id, name__iexact=template.name).order_by("-version")


def with_uses(rows: QuerySet) -> QuerySet:
    """With `used`: how many VMs were made of each."""
    return rows.annotate(used=Count("vms", distinct=True))


def is_ready(template: Template) -> bool:
    return not template.disks.exclude(status=DiskStatus.OK).exists()


def latest(templates: Iterable[Template]) -> set[Any]:
    """The ids of those of which no newer version is among them."""
    newest: dict[tuple[Any, str], Template] = {}
    for template in templates:
        key = (template.data_center_id, template.name.lower())
        if key not in newest or template.version > newest[key].version:
            newest[key] = template
    return {template.pk for template in newest.values()}


def edit(user: User, template: Template, changes: dict[str, Any]) -> Template:
    """Changes fields of this version; a name changes for all versions. VMs that were made of it stay as they are.

    Raises PermissionDenied, FieldError.
    """
    require(user, "template.edit", template)
    if unknown := set(changes) - set(FIELDS):
        raise FieldError(sorted(unknown)[0], "This cannot be changed.")
    clean = {key: value for key, value in _clean(changes).items() if getattr(template, key) != value}
    if "name" in clean:
        _check_free(user, template, clean["name"])
    with transaction.atomic():
        before = audit.snapshot(template, *FIELDS)
        for key, value in clean.items():
            setattr(template, key, value)
        template.rev += 1
        try:
            with transaction.atomic():
                if "name" in clean:
                    _rename(before["name"], template)
                template.save(update_fields=[*clean, "rev", "updated_at"])
        except IntegrityError:
            raise FieldError("name", f"A template named {template.name} exists already.") from None
        change = audit.changes(before, audit.snapshot(template, *FIELDS))
        record("template.edited", f"{template}: {', '.join(sorted(clean)) or 'nothing'} changed", obj=template, user=user, change=change)
        publish("template", template.pk, "changed", template.rev)
    return template


def _check_free(user: User, template: Template, name: str) -> None:
    """The name is no other template's, and every version may be renamed by this user."""
    others = versions_of(template)
    if name.lower() != template.name.lower():
        if Template.objects.filter(data_center=template.data_center_id, name__iexact=name).exists():
            raise FieldError("name", f"A template named {name} exists already.")
        for version in others:
            require(user, "template.edit", version)


def _rename(old: str, template: Template) -> None:
    Template.objects.filter(data_center=template.data_center_id, name__iexact=old).exclude(pk=template.pk).update(name=template.name)


def _clean(changes: dict[str, Any]) -> dict[str, Any]:
    clean = dict(changes)
    if "name" in clean:
        clean["name"] = valid_name(clean["name"])
    if "description" in clean:
        clean["description"] = valid_text(clean["description"])
    if clean.get("memory_mib", MEMORY_MIB.start) not in MEMORY_MIB:
        raise FieldError("memory_mib", f"Memory is at least {MEMORY_MIB.start} MiB and at most {MEMORY_MIB.stop >> 20} TiB.")
    if clean.get("vcpus", 1) not in VCPUS:
        raise FieldError("vcpus", f"A VM has 1 to {VCPUS.stop - 1} virtual CPUs.")
    if "os" in clean:
        clean["os"] = valid_name(clean["os"], "os") if clean["os"].strip() else ""
        if len(clean["os"]) > OS_LENGTH:
            raise FieldError("os", f"At most {OS_LENGTH} characters.")
    if clean.get("set_up_by", SetUpBy.NONE) not in SetUpBy.values:
        raise FieldError("set_up_by", f"There are {', '.join(SetUpBy.values)}.")
    return clean


def named_for_use(user: User, name: str, version: int | None = None) -> Template:
    """The template of this name that the user may use: the newest version that is ready, or this one.

    Raises FieldError, NotPossible.
    """
    found = list(Template.objects.visible_to(user, "template.use").filter(name__iexact=name).order_by("-version").prefetch_related("disks"))
    if len({template.data_center_id for template in found}) > 1:
        raise FieldError("template", f"Several data centers have a template «{name[:100]}»; give the id.")
    if version is not None:
        found = [template for template in found if template.version == version]
    if not found:
        what = f"version {version} of " if version is not None else ""
        raise FieldError("template", f"There is no {what}template «{name[:100]}», or you may not use it.")
    ready = [template for template in found if all(disk.status == DiskStatus.OK for disk in template.disks.all())]
    if not ready:
        raise NotPossible(f"Template {found[0].name} is not ready: its disks are still being made.")
    return ready[0]
