"""The verbs on storage domains and disks."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import require
from accounts.quotas import rules
from accounts.quotas.models import Quota
from audit import log as audit
from events.log import record
from hosts.models import DataCenter, Host, HostStatus
from jobs import engine
from jobs.engine import holder_of
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name
from storage import can, quotas, uploads
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain, StorageKind, StorageStatus

SMALLEST_DISK = 1 << 20
LARGEST_DISK = 1 << 46  # 64 TiB, what ext4 and most guests still take
_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+){2,}")
# A pool takes over its directory: these belong to the system.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr")  # noqa: S108  # nosec B108 # refused, not used


@dataclass(frozen=True, kw_only=True)
class NewDomain:
    """What is asked for when a storage domain is made.

    Args:
        kind: of StorageKind. A shared directory must be the same one on every host (NFS, Gluster, … mounted there).
        path: absolute path of a directory on the hosts; made when it is missing.
    """

    name: str
    data_center: DataCenter
    kind: str
    path: str
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class NewDisk:
    """What is asked for when an empty disk is made.

    Args:
        host: which host's directory, for a local domain; None: the one with most space.
        quota: what it counts against; None: the only one that the user holds there, if any.
    """

    name: str
    domain: StorageDomain
    capacity_bytes: int
    format: str = "qcow2"
    host: Host | None = None
    description: str = ""
    quota: Quota | None = None


def create_domain(user: User, new: NewDomain) -> tuple[StorageDomain, Job]:
    """Makes a storage domain; the job `storage.create` readies it on every host of the data center that is up.

    Raises:
        PermissionDenied, FieldError: name or path taken, path not one.
    """
    require(user, "storage_domain.create", new.data_center)
    if new.kind not in StorageKind.values:
        raise FieldError("kind", "Choose a local or a shared directory.")
    domain = StorageDomain(
        name=valid_name(new.name),
        data_center=new.data_center,
        kind=new.kind,
        path=valid_path(new.path),
        description=new.description.strip(),
    )
    _check_unique(domain)
    with transaction.atomic():
        _save(domain, force_insert=True)
        publish("storage_domain", domain.pk, "added", domain.rev, {"status": domain.status})
        record("storage_domain.created", f"Storage domain {domain.name} was created at {domain.path}", obj=domain, user=user)
        return domain, _submit("storage.create", user, domain, f"Create storage domain {domain.name}")


def edit_domain(user: User, domain: StorageDomain, changes: Mapping[str, Any]) -> StorageDomain:
    """Changes `name` or `description`. Raises PermissionDenied, FieldError."""
    require(user, "storage_domain.edit", domain)
    for field, value in changes.items():
        if field not in ("name", "description"):
            raise FieldError(field, "This cannot be changed: disks lie there.")
        setattr(domain, field, valid_name(value) if field == "name" else value.strip())
    _check_unique(domain)
    domain.rev += 1
    with transaction.atomic():
        change = audit.changes(audit.stored(domain, "name", "description"), audit.snapshot(domain, "name", "description"))
        _save(domain, update_fields=["name", "description", "rev", "updated_at"])
        publish("storage_domain", domain.pk, "changed", domain.rev, {"status": domain.status})
        record("storage_domain.edited", f"Storage domain {domain.name} was changed", obj=domain, user=user, change=change)
    return domain


def activate_domain(user: User, domain: StorageDomain) -> Job:
    """Readies the domain again on every host that is up, and looks at its space."""
    require(user, "storage_domain.edit", domain)
    _ensure_domain("activate", domain)
    return _submit("storage.activate", user, domain, f"Activate storage domain {domain.name}")


def maintain_domain(user: User, domain: StorageDomain) -> Job:
    """Takes the domain out of use on every host. Raises NotPossible while a running VM has a disk there."""
    require(user, "storage_domain.edit", domain)
    _ensure_domain("maintenance", domain)
    names = running_on(domain)
    if names:
        raise NotPossible(
            f"{len(names)} running VM{'s have' if len(names) > 1 else ' has'} disks in {domain.name}: {', '.join(names[:5])}. Shut down what uses it first."
        )
    return _submit("storage.maintenance", user, domain, f"Maintenance of storage domain {domain.name}")


def remove_domain(user: User, domain: StorageDomain) -> Job:
    """Removes the domain from every host and from Vireo; its directory stays. Raises NotPossible while disks lie in it."""
    require(user, "storage_domain.delete", domain)
    _ensure_domain("remove", domain)
    return _submit("storage.remove", user, domain, f"Remove storage domain {domain.name}")


def create_disk(user: User, new: NewDisk) -> tuple[Disk, Job]:
    """Makes an empty disk. Raises PermissionDenied, FieldError, NotPossible."""
    require(user, "disk.create", new.domain)
    if new.format not in ("qcow2", "raw"):
        raise FieldError("format", "Choose qcow2 or raw.")
    if not SMALLEST_DISK <= new.capacity_bytes <= LARGEST_DISK:
        raise FieldError("capacity_bytes", "A disk has between 1 MiB and 64 TiB.")
    name = valid_name(new.name)
    _ensure_domain("create-disk", new.domain)
    disk = Disk(
        name=name,
        description=new.description.strip(),
        domain=new.domain,
        host=place(new.domain, new.host),
        format=new.format,
        capacity_bytes=new.capacity_bytes,
        status=DiskStatus.LOCKED,
        quota=rules.choose(user, new.domain.data_center, new.quota),
    )
    return disk, _add_disk(user, disk, "disk.create", f"Create disk {name}", "capacity_bytes")


def upload_iso(
    user: User, domain: StorageDomain, name: str, file: UploadedFile, host: Host | None = None, quota: Quota | None = None
) -> tuple[Disk, Job]:
    """Takes an ISO image from a form; the job `disk.upload` brings it to the storage.

    Args:
        name: "" takes the file's own name.
        host: for a local domain, as in NewDisk.
        quota: as in NewDisk.

    Raises:
        PermissionDenied, NotPossible, FieldError (field "file"): not an ISO 9660 image, or too large, or more than the quota has.
    """
    require(user, "disk.create", domain)
    _ensure_domain("upload", domain)
    name = valid_name(name or posixpath.basename(file.name or "image.iso"))
    disk = Disk(
        name=name,
        domain=domain,
        host=place(domain, host),
        content=DiskContent.ISO,
        format="raw",
        capacity_bytes=file.size or 0,
        status=DiskStatus.LOCKED,
        quota=rules.choose(user, domain.data_center, quota),
    )
    spooled = uploads.keep_iso(file, disk.pk)
    try:
        return disk, _add_disk(user, disk, "disk.upload", f"Upload ISO {name}", "file")
    except BaseException:
        spooled.unlink(missing_ok=True)
        raise


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
    }


def running_on(domain: StorageDomain) -> list[str]:
    """Names of the VMs that are not down and have a disk in the domain."""
    return sorted(
        set(domain.disks.exclude(attachments=None).exclude(attachments__vm__status="down").values_list("attachments__vm__name", flat=True))
    )


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


def valid_path(text: str) -> str:
    """A directory's absolute path in one spelling. Raises FieldError."""
    path = text.strip()
    if len(path) > 1 and path.endswith("/"):
        path = path.rstrip("/")
    if not path.startswith("/"):
        raise FieldError("path", "Give the directory's absolute path, such as /var/lib/vireo/disks.")
    if len(path) > 1024 or ".." in path.split("/") or posixpath.normpath(path) != path or not _PATH.fullmatch(path):
        raise FieldError("path", "Give a plain path below the top level, of letters, digits and . _ + @ - only.")
    if any(path == top or path.startswith(top + "/") for top in _SYSTEM):
        raise FieldError("path", f"{path} belongs to the host's system.")
    return path


def _add_disk(user: User, disk: Disk, kind: str, title: str, size_field: str) -> Job:
    with transaction.atomic():
        quotas.take_disk(user, disk, size_field)
        disk.save(force_insert=True)
        publish("disk", disk.pk, "added", disk.rev, {"status": disk.status})
        record("disk.created", f"Disk {disk.name} was created in {disk.domain}", obj=disk, user=user)
        return engine.submit(kind, user=user, target=disk, title=title, locks=[disk])


def _submit(kind: str, user: User, domain: StorageDomain, title: str) -> Job:
    return engine.submit(kind, user=user, target=domain, title=title, locks=[domain])


def _ensure_domain(action: str, domain: StorageDomain) -> None:
    verdict = can.check_domain(action, domain, busy=holder_of(domain), disks=domain.disks.count())
    if not verdict:
        raise NotPossible(verdict.reason)


def _check_unique(domain: StorageDomain) -> None:
    for other in domain.data_center.storage_domains.exclude(pk=domain.pk):
        if other.name.lower() == domain.name.lower():
            raise FieldError("name", f"Data center {domain.data_center} has a storage domain named {other.name} already.")
        if f"{other.path}/".startswith(f"{domain.path}/") or f"{domain.path}/".startswith(f"{other.path}/"):
            raise FieldError("path", f"Storage domain {other.name} uses {other.path} already.")


def _save(domain: StorageDomain, **options: Any) -> None:
    try:
        with transaction.atomic():
            domain.save(**options)
    except IntegrityError:
        _check_unique(domain)
        raise
