"""Images from URLs: through portal.outbound's guard at every hop, into the spool."""

import errno
import os
import time
from urllib.parse import unquote, urljoin, urlsplit

from django.db import transaction
from django.db.models import F

from accounts.models import User
from accounts.quotas import rules
from accounts.quotas.models import Quota
from jobs.engine import Context
from jobs.errors import StepFailed
from jobs.models import Job
from portal import outbound
from portal.errors import FieldError
from portal.live import publish
from portal.secrets import decrypt
from storage import quotas, space
from storage.images import incoming, spool
from storage.images.models import ImageSource
from storage.images.probe import Probe
from storage.models import Disk, StorageDomain

MOST_REDIRECTS = 5
LARGEST = 1 << 41
SECONDS = 12 * 3600.0
_PIECE = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)


def add(
    user: User,
    domain: StorageDomain,
    url: str,
    *,
    name: str = "",
    to_format: str = "qcow2",
    sha256: str = "",
    quota: Quota | None = None,
) -> tuple[Disk, Job]:
    """Fetches an image from a URL; the job `image.fetch` does it.

    Raises:
        PermissionDenied, NotPossible, FieldError: the URL is none, or leads where requests must not go.
    """
    url = url.strip()
    try:
        outbound.check(url)
    except outbound.OutboundError as error:
        raise FieldError("url", str(error)) from None
    file_name = incoming.plain_file_name(unquote(urlsplit(url).path))
    new = incoming.Incoming(
        user=user,
        domain=domain,
        name=name or file_name,
        file_name=file_name,
        source=ImageSource.URL,
        to_format=incoming.valid_format(to_format),
        expected_sha256=incoming.valid_sha256(sha256),
        quota=rules.choose(user, domain.data_center, quota),
        url=url,
    )
    return incoming.add(new)


def run(ctx: Context) -> None:
    """The job's step. A second try begins anew: what a dead worker left may end in the middle of a write."""
    disk = Disk.objects.select_related("image").get(pk=ctx.job.object_id)
    url = decrypt(disk.image.url)
    for _ in range(MOST_REDIRECTS + 1):
        onward = _fetch(ctx, url, disk)
        if not onward:
            return
        if url.startswith("https:") and not onward.startswith("https:"):
            raise StepFailed("The server leads from https to an address without it.")
        url = onward
    raise StepFailed(f"The server leads on more than {MOST_REDIRECTS} times.")


def _fetch(ctx: Context, url: str, disk: Disk) -> str:
    """The URL to go on to; "" when the image is here."""
    try:
        with outbound.opened("GET", url, seconds=SECONDS) as response:
            if response.status in _REDIRECTS and response.headers.get("Location"):
                return urljoin(url, response.headers["Location"])
            if response.status != 200:
                raise StepFailed(f"The server answered with status {response.status}.")
            total = _length(response.headers.get("Content-Length"))
            _save(ctx, response, disk, total)
            return ""
    except outbound.OutboundError as error:
        raise StepFailed(str(error)) from None


def _length(text: str | None) -> int:
    """0 when the server does not say."""
    total = int(text) if text and text.isdecimal() and len(text) < 20 else 0
    _ensure_room(total, total)
    return total


def _ensure_room(length: int, more: int) -> None:
    if length > LARGEST:
        raise StepFailed(f"The file is larger than {LARGEST >> 40} TiB.")
    if more > spool.free_bytes():
        raise StepFailed("The portal has no room for a file of this size now.")


def _save(ctx: Context, response: outbound.BaseHTTPResponse, disk: Disk, total: int) -> None:
    path = spool.path_of(disk.pk)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    done, looked = 0, time.monotonic()
    try:
        with os.fdopen(descriptor, "wb") as file:
            while piece := response.read(_PIECE):
                file.write(piece)
                done += len(piece)
                ctx.progress(done, total or done * 2)
                if time.monotonic() - looked > 1:
                    _ensure_room(done, 1)
                    looked = time.monotonic()
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StepFailed("The portal has no room left for the file.", str(error)) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if total and done != total:
        path.unlink(missing_ok=True)
        raise StepFailed(f"The server broke off after {done} of {total} bytes.")


def note_shape(disk: Disk, found: Probe, file_bytes: int) -> None:
    """What the file turned out to be. One that was fetched counts against its quota from here on.

    Raises FieldError, NotPossible: more than the quota has.
    """
    image = disk.image
    fields = incoming.shape(found.format, disk.format, found.virtual_bytes)
    with transaction.atomic():
        if disk.capacity_bytes != found.virtual_bytes:
            disk.capacity_bytes = found.virtual_bytes
            quotas.take_disk(image.by, disk, "file")
            space.take(disk, "file")
        Disk.objects.filter(pk=disk.pk).update(rev=F("rev") + 1, **fields)
        image.file_format, image.file_bytes = found.format, file_bytes
        image.save(update_fields=["file_format", "file_bytes"])
    disk.refresh_from_db()
    publish("disk", disk.pk, "changed", disk.rev, {"status": disk.status})
