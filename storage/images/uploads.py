"""Uploads as the tus protocol has them: begun, appended to, resumed from anywhere, finished, given up."""

import logging
import os
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from accounts.quotas import rules
from accounts.quotas.models import Quota
from events.log import record
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.names import valid_name
from storage import can, services
from storage.images import incoming, spool
from storage.images.models import ImageSource, Upload, UploadStatus
from storage.images.probe import BadImage, probe
from storage.models import Disk, StorageDomain

log = logging.getLogger(__name__)

MOST_OPEN = 5  # of one user
LIFETIME = timedelta(days=2)  # since its last byte
# A writer that has said nothing for so long has lost its client, or died: the next one takes over.
WRITER_SECONDS = 15
LARGEST = 16 << 40


@dataclass(frozen=True, kw_only=True)
class NewUpload:
    """What is said before the first byte.

    Args:
        name: of the disk; "" takes the file's.
        modified: of the sender's file, to know it again.
        to_format: qcow2 or raw, for disks. ISO images stay as they are.
        sha256: what the file must have; "": nothing is compared.
    """

    domain: StorageDomain
    file_name: str
    length: int
    name: str = ""
    modified: int = 0
    to_format: str = "qcow2"
    sha256: str = ""
    quota: Quota | None = None


class Busy(NotPossible):
    """Another request writes to this upload (423)."""


class NoImage(FieldError):
    """What was sent is no image that is taken."""


class WrongOffset(NotPossible):
    """The client is not where the server is (409); it asks, and goes on from there."""


def begin(user: User, new: NewUpload) -> Upload:
    """Makes room for a file. Raises PermissionDenied, FieldError, NotPossible."""
    require(user, "disk.create", new.domain)
    verdict = can.check_domain("upload", new.domain)
    if not verdict:
        raise NotPossible(verdict.reason)
    file_name = incoming.plain_file_name(new.file_name)
    upload = Upload(
        user=user,
        domain=new.domain,
        quota=rules.choose(user, new.domain.data_center, new.quota),
        name=valid_name(new.name or file_name),
        file_name=file_name,
        modified=max(-(1 << 62), min(new.modified, 1 << 62)),
        length=new.length,
        to_format=incoming.valid_format(new.to_format),
        expected_sha256=incoming.valid_sha256(new.sha256),
        expires_at=timezone.now() + LIFETIME,
    )
    if not 0 < new.length <= LARGEST:
        raise FieldError("length", "A file has between 1 byte and 16 TiB.")
    rules.ensure(upload.quota, [rules.Claim(rules.Resource.STORAGE, 1, new.domain.pk)], subject="this image")
    services.place(new.domain)  # a local domain must have a host that is up
    with transaction.atomic():
        _reserve(user, new.length)
        upload.save(force_insert=True)
        record("upload.begun", f"{user} began to upload {file_name}", obj=new.domain, user=user, details={"bytes": new.length})
    path = spool.path_of(upload.pk)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return upload


def _reserve(user: User, length: int) -> None:
    """Under the lock of one row that every new upload takes, so that two do not both get the last space."""
    StorageDomain.objects.select_for_update().order_by("pk").first()
    mine = Upload.objects.filter(user=user, status=UploadStatus.OPEN).count()
    if mine >= MOST_OPEN:
        raise NotPossible(f"You have {mine} unfinished uploads: go on with one of them, or give one up.")
    coming = Upload.objects.filter(status=UploadStatus.OPEN).aggregate(total=Sum(F("length") - F("offset")))["total"] or 0
    if length > spool.free_bytes() - coming:
        raise NotPossible("The portal has no room for a file of this size now. Try again when other uploads are done.")


def claim(upload: Upload, offset: int) -> uuid.UUID:
    """The right to append from `offset` on, for one request.

    Raises:
        Busy, WrongOffset.
    """
    if upload.status != UploadStatus.OPEN:
        raise WrongOffset("This upload is complete.")
    now, token = timezone.now(), uuid.uuid4()
    free = Q(writer=None) | Q(writer_at__lt=now - timedelta(seconds=WRITER_SECONDS))
    taken = Upload.objects.filter(free, pk=upload.pk, status=UploadStatus.OPEN).update(writer=token, writer_at=now)
    if not taken:
        raise Busy("Another tab or program is sending this file just now.")
    upload.refresh_from_db()
    _mend(upload)
    if upload.offset != offset:
        release(upload.pk, token, upload.offset)
        raise WrongOffset(f"The server has {upload.offset} bytes, and the client goes on at {offset}.")
    return token


def _mend(upload: Upload) -> None:
    """After a crash of the machine the file may be shorter than the row says."""
    path = spool.path_of(upload.pk)
    there = path.stat().st_size if path.exists() else 0
    if there < upload.offset:
        Upload.objects.filter(pk=upload.pk).update(offset=there)
        upload.offset = there


def advance(key: uuid.UUID, token: uuid.UUID, offset: int) -> bool:
    """Notes how far the file is; False when the claim is another's, and nothing more may be written."""
    now = timezone.now()
    return bool(
        Upload.objects.filter(pk=key, writer=token, status=UploadStatus.OPEN).update(
            offset=offset, writer_at=now, expires_at=now + LIFETIME
        )
    )


def release(key: uuid.UUID, token: uuid.UUID, offset: int) -> bool:
    """The same, and gives the claim back."""
    return bool(
        Upload.objects.filter(pk=key, writer=token, status=UploadStatus.OPEN).update(
            offset=offset, writer=None, writer_at=None, expires_at=timezone.now() + LIFETIME
        )
    )


def finish(key: uuid.UUID) -> Upload:
    """All bytes are there: an image becomes a disk and a job, an OVA waits for its preview. Safe to call twice, and early.

    Raises:
        NoImage: the upload is gone with it. PermissionDenied, FieldError, NotPossible: it stays, and beat tries again.
    """
    try:
        with transaction.atomic():
            upload = Upload.objects.select_for_update(of=("self",)).select_related("user", "domain__data_center", "quota").get(pk=key)
            if upload.status == UploadStatus.OPEN and upload.offset >= upload.length:
                _take(upload)
            return upload
    except NoImage as error:
        give_up(upload, f"The upload of {upload.file_name} was refused: {error.text}")
        raise


def _take(upload: Upload) -> None:
    try:
        found = probe(spool.path_of(upload.pk))
    except BadImage as error:
        raise NoImage("file", str(error)) from None
    if found.format == "ova":
        require(upload.user, "disk.create", upload.domain)
        upload.status = UploadStatus.COMPLETE
    else:
        upload.disk, _job = make_disk(upload, found.format, found.virtual_bytes)
        upload.status = UploadStatus.TAKEN
    upload.writer = None
    upload.save(update_fields=["status", "writer", "disk"])


def make_disk(upload: Upload, format: str, virtual_bytes: int) -> tuple[Disk, Job]:
    """The disk that the upload becomes, and the job that brings it to the storage."""
    new = incoming.Incoming(
        user=upload.user,
        domain=upload.domain,
        name=upload.name,
        file_name=upload.file_name,
        source=ImageSource.UPLOAD,
        to_format=upload.to_format,
        expected_sha256=upload.expected_sha256,
        quota=upload.quota,
        file_format=format,
        file_bytes=upload.length,
        virtual_bytes=virtual_bytes,
    )
    return incoming.add(new, spooled=spool.path_of(upload.pk))


def give_up(upload: Upload, why: str = "") -> None:
    """The row and its bytes go; a writer finds its claim gone."""
    with transaction.atomic():
        Upload.objects.filter(pk=upload.pk).delete()
        text = why or f"The upload of {upload.file_name} was given up"
        record("upload.ended", text, obj=upload.domain, user=upload.user)
    spool.drop(upload.pk)


def sweep() -> None:
    """What beat does: uploads nobody goes on with end, complete ones that a dead process left are finished, old files go."""
    now = timezone.now()
    for upload in Upload.objects.filter(expires_at__lt=now).exclude(status=UploadStatus.TAKEN).select_related("user", "domain"):
        give_up(upload, f"The upload of {upload.file_name} was given up: nobody went on with it")
    Upload.objects.filter(expires_at__lt=now, status=UploadStatus.TAKEN).delete()
    for key in Upload.objects.filter(status=UploadStatus.OPEN, offset__gte=F("length")).values_list("pk", flat=True):
        try:
            finish(key)
        except Exception:  # noqa: BLE001  one that cannot be taken must not hold up the others
            log.warning("a complete upload was refused: %s", key)
    known = {str(key) for rows in (Upload, Disk, Job) for key in rows.objects.values_list("pk", flat=True)} if _old_files() else set()
    for path in spool.left_over(known) if known else []:
        path.unlink(missing_ok=True)


def _old_files() -> bool:
    return settings.UPLOAD_DIR.exists() and bool(spool.left_over(set()))
