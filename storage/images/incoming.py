"""An image becomes a disk: the row, its quota, and the job `image.import` that brings it to the storage."""

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from accounts.models import User
from accounts.permissions import allowed, grant, require
from accounts.quotas.models import Quota
from events.log import record
from jobs import engine
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import plain, valid_name
from portal.secrets import encrypt
from storage import can, quotas, services, space
from storage.images import spool
from storage.images.models import Image, ImageSource
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain

TO_FORMATS = ("qcow2", "raw")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """An image on its way to a storage domain.

    Args:
        url: where it is fetched from; "": it lies in the spool.
        virtual_bytes: what the guest will see, and what counts against the quota; 0: known once it is fetched.
    """

    user: User
    domain: StorageDomain
    name: str
    file_name: str
    source: ImageSource
    to_format: str = "qcow2"
    expected_sha256: str = ""
    quota: Quota | None = None
    file_format: str = ""
    file_bytes: int = 0
    virtual_bytes: int = 0
    url: str = ""


def add(new: Incoming, spooled: Path | None = None) -> tuple[Disk, Job]:
    """Writes the rows and submits the job; the spooled file becomes the disk's.

    Raises:
        PermissionDenied, NotPossible, FieldError (field "file"): more than the quota has.
    """
    require(new.user, "disk.create", new.domain)
    verdict = can.check_domain("upload", new.domain)
    if not verdict:
        raise NotPossible(verdict.reason)
    disk = Disk(
        name=valid_name(new.name),
        domain=new.domain,
        host=services.place(new.domain),
        status=DiskStatus.LOCKED,
        quota=new.quota,
        **shape(new.file_format, new.to_format, new.virtual_bytes),
    )
    with transaction.atomic():
        quotas.take_disk(new.user, disk, "file")
        space.take(disk, "file")
        disk.save(force_insert=True)
        Image.objects.create(
            disk=disk,
            source=new.source,
            file_name=new.file_name,
            file_format=new.file_format,
            file_bytes=new.file_bytes,
            expected_sha256=new.expected_sha256,
            url=encrypt(new.url),
            by=new.user,
        )
        own(new.user, disk)
        publish("disk", disk.pk, "added", disk.rev, {"status": disk.status})
        record("disk.created", f"Disk {disk.name} was created in {disk.domain}, {new.source.label}", obj=disk, user=new.user)
        if spooled is not None:
            # A second name for the file: whichever way the transaction ends, one of the two is right.
            os.link(spooled, spool.path_of(disk.pk))
            transaction.on_commit(lambda: spooled.unlink(missing_ok=True))
        kind = "image.fetch" if new.url else "image.import"
        job = engine.submit(kind, user=new.user, target=disk, title=f"Import {disk.name}", locks=[disk])
    return disk, job


def shape(file_format: str, to_format: str, virtual_bytes: int) -> dict[str, object]:
    """The disk's fields that follow from what the file is."""
    is_iso = file_format == "iso"
    return {
        "content": DiskContent.ISO if is_iso else DiskContent.DATA,
        "format": "raw" if is_iso else to_format,
        "capacity_bytes": virtual_bytes,
    }


def own(user: User, disk: Disk) -> None:
    """Who brings an image may use it, also where they hold nothing but the right to create disks."""
    if not allowed(user, "disk.edit", disk):
        grant("UserVmManager", disk, user=user, by=user)


def valid_format(text: str) -> str:
    if text not in TO_FORMATS:
        raise FieldError("to_format", "Choose qcow2 or raw.")
    return text


def valid_sha256(text: str) -> str:
    """A checksum as `sha256sum` prints it, with or without the file's name. Raises FieldError."""
    words = text.strip().lower().removeprefix("sha256:").split()
    if not words:
        return ""
    if not _SHA256.fullmatch(words[0]):
        raise FieldError("sha256", "A SHA-256 checksum has 64 digits, 0 to 9 and a to f.")
    return words[0]


def plain_file_name(text: str) -> str:
    """The last part of a path, whatever system it came from, to be shown and nothing else."""
    return plain(posixpath.basename(text.replace("\\", "/")))[:200] or "image"
