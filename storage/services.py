"""The verbs on disks; those on storage domains are in storage.domains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from accounts.quotas import rules
from accounts.quotas.models import Quota
from audit import log as audit
from events.log import record
from hosts.models import Host, HostStatus
from jobs import engine
from jobs.engine import holder_of
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name
from storage import can, quotas, space
from storage.domains import ensure
from storage.models import Disk, DiskStatus, StorageDomain, StorageStatus

SMALLEST_DISK = 1 << 20
LARGEST_DISK = 1 << 46  # 64 TiB, what ext4 and most guests still take


@dataclass(frozen=True, kw_only=True)
class NewDisk:
    """What is asked for when an empty disk is made.

    Args:
        format: "" is what suits the domain best.
        host: which host's directory, for a local domain; None: the one with most space.
        quota: what it counts against; None: the only one that the user holds there, if any.
    """

    name: str
    domain: StorageDomain
    capacity_bytes: int
    format: str = ""
    host: Host | None = None
    description: str = ""
    quota: Quota | None = None


def create_disk(user: User, new: NewDisk) -> tuple[Disk, Job]:
    """Makes an empty disk. Raises PermissionDenied, FieldError, NotPossible."""
    require(user, "disk.create", new.domain)
    chosen = new.format or new.domain.traits.formats[0]
    if chosen not in new.domain.traits.formats:
        raise FieldError("format", f"Disks in {new.domain.name} are {' or '.join(new.domain.traits.formats)}.")
    if not SMALLEST_DISK <= new.capacity_bytes <= LARGEST_DISK:
        raise FieldError("capacity_bytes", "A disk has between 1 MiB and 64 TiB.")
    name = valid_name(new.name)
    ensure("create-disk", new.domain)
    disk = Disk(
        name=name,
        description=new.description.strip(),
        domain=new.domain,
        host=place(new.domain, new.host),
        format=chosen,
        capacity_bytes=new.capacity_bytes,
        status=DiskStatus.LOCKED,
        quota=rules.choose(user, new.domain.data_center, new.quota),
    )
    return disk, _add_disk(user, disk, "disk.create", f"Create disk {name}", "capacity_bytes")


def edit_disk(user: User, disk: Disk, changes: Mapping[str, Any]) -> Disk:
    """Changes `name` or `description`. Raises PermissionDenied, FieldError."""
    require(user, "disk.edit", disk)
    for field, value in changes.items():
        if field not in ("name", "description"):
            raise FieldError(field, "This cannot be changed.")
        setattr(disk, field, valid_name(value) if field == "name" else value.strip())
    disk.rev += 1
    with transaction.atomic():
        change = audit.changes(audit.stored(disk, "name", "description"), audit.snapshot(disk, "name", "description"))
        disk.save(update_fields=["name", "description", "rev", "updated_at"])
        publish("disk", disk.pk, "changed", disk.rev, {"status": disk.status})
        record("disk.edited", f"Disk {disk.name} was changed", obj=disk, user=user, change=change)
    return disk


def remove_disk(user: User, disk: Disk) -> Job:
    """Deletes a disk and its volume. A foreign disk of an adopted VM is only forgotten.

    Raises:
        NotPossible: a VM, a template or a thin copy needs it.
    """
    require(user, "disk.delete", disk)
    verdict = can.check_disk("remove", disk, busy=holder_of(disk), **users_of(disk))
    if not verdict:
        raise NotPossible(verdict.reason)
    return engine.submit("disk.remove", user=user, target=disk, title=f"Remove disk {disk.name}", locks=[disk])


def users_of(disk: Disk) -> dict[str, Any]:
    """Who needs the disk, as can.check_disk wants to know it."""
    return {
        "vms": list(disk.attachments.order_by("vm__name").values_list("vm__name", flat=True)),
        "templates": list(disk.templates.order_by("name").values_list("name", flat=True)),
        "children": disk.children.count(),
        "layers": disk.layers.exists(),
    }


def place(domain: StorageDomain, host: Host | None = None) -> Host | None:
    """On which host a new disk of the domain lies: None for a shared domain.

    Raises:
        FieldError: the wished host is not up or does not have the domain.
        NotPossible: no host has the domain active.
    """
    if domain.is_shared:
        return None
    ready = (
        domain.on_hosts.filter(status=StorageStatus.ACTIVE, host__status=HostStatus.UP).select_related("host").order_by("-available_bytes")
    )
    if host is not None:
        if not ready.filter(host=host).exists():
            raise FieldError("host", f"{domain.name} is not active on {host.name}.")
        return host
    first = ready.first()
    if first is None:
        raise NotPossible(f"{domain.name} is active on no host that is up.")
    return first.host


def _add_disk(user: User, disk: Disk, kind: str, title: str, size_field: str) -> Job:
    with transaction.atomic():
        quotas.take_disk(user, disk, size_field)
        space.take(disk, size_field)
        disk.save(force_insert=True)
        publish("disk", disk.pk, "added", disk.rev, {"status": disk.status})
        record("disk.created", f"Disk {disk.name} was created in {disk.domain}", obj=disk, user=user)
        return engine.submit(kind, user=user, target=disk, title=title, locks=[disk])
