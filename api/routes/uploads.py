"""Uploads by the tus protocol, version 1.0.0: creation, checksum, expiration, termination.

A browser's session and a token are answered alike. The bytes of a PATCH never come here: portal.asgi asks this view whether
they may, and `storage.images.receiving` writes them as they arrive.
"""

import base64
import binascii
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Router

from accounts.permissions import anywhere
from accounts.quotas.models import Quota
from api.lookup import named, one_of
from api.problems import problem
from portal.errors import FieldError
from storage.images import receiving, uploads
from storage.images.models import Upload, UploadStatus
from storage.models import StorageDomain

router = Router(tags=["Uploads"])
VERSION = "1.0.0"
_ABOUT = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}


def _answer(status: int, upload: Upload | None = None, **headers: str) -> HttpResponse:
    found = _ABOUT | {name.replace("_", "-"): value for name, value in headers.items()}
    if upload is not None and upload.status == UploadStatus.OPEN:
        found["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)
    if upload is not None and (onward := receiving.onward(upload)):
        found["Vireo-Next"] = onward
    return HttpResponse(status=status, headers=found)


@router.api_operation(["OPTIONS"], "/uploads", summary="What the upload server can do", auth=None)
def options(request: HttpRequest) -> Any:
    """The tus protocol's discovery."""
    return _answer(
        204,
        Tus_Version=VERSION,
        Tus_Extension="creation,checksum,expiration,termination",
        Tus_Checksum_Algorithm="sha256",
        Tus_Max_Size=str(uploads.LARGEST),
    )


@router.post("/uploads", summary="Begin an upload")
def begin(request: HttpRequest) -> Any:
    """By tus: `Upload-Length`, and in `Upload-Metadata` filename, domain (id or name), and optionally name, format (qcow2 or raw), sha256, quota, modified."""
    if "disk.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create disks.")
    if (refusal := _version_refused(request)) is not None:
        return refusal
    told = _metadata(request.headers.get("Upload-Metadata", ""))
    domain = named(StorageDomain, request.user, "domain", told.get("domain"), "disk.create")
    if domain is None:
        raise FieldError("domain", "Name the storage domain.")
    upload = uploads.begin(
        request.user,
        uploads.NewUpload(
            domain=domain,
            file_name=told.get("filename", ""),
            length=_number(request, "Upload-Length"),
            name=told.get("name", ""),
            modified=_digits(told.get("modified", "")),
            to_format=told.get("format") or "qcow2",
            sha256=told.get("sha256", ""),
            quota=one_of(Quota.objects.usable_by(request.user), "quota", told.get("quota")),
        ),
    )
    return _answer(201, upload, Location=reverse("api:upload", args=[upload.pk]), Upload_Offset="0")


@router.api_operation(["HEAD", "GET"], "/uploads/{uuid:pk}", summary="How far an upload is", url_name="upload")
def look(request: HttpRequest, pk: UUID) -> Any:
    """One whose last byte has come, and whose server died before it was taken, is taken now."""
    upload = _mine(request, pk)
    if (refusal := _version_refused(request)) is not None:
        return refusal
    if upload.status == UploadStatus.OPEN and upload.offset >= upload.length:
        upload = uploads.finish(upload.pk)
    return _answer(200, upload, Upload_Offset=str(upload.offset), Upload_Length=str(upload.length))


@router.patch("/uploads/{uuid:pk}", summary="Append bytes to an upload")
def append(request: HttpRequest, pk: UUID) -> Any:
    """By tus: `Content-Type: application/offset+octet-stream`, `Upload-Offset`, optionally `Upload-Checksum: sha256 BASE64`."""
    upload = _mine(request, pk)
    if (refusal := _version_refused(request)) is not None:
        return refusal
    if request.content_type != "application/offset+octet-stream":
        return problem(415, "Wrong content type", "Send application/offset+octet-stream.")
    checksum = _checksum(request.headers.get("Upload-Checksum", ""))
    offset = _number(request, "Upload-Offset")
    try:
        token = uploads.claim(upload, offset)
    except uploads.Busy as error:
        return problem(423, "Locked", str(error))
    if not receiving.hand_over(request, receiving.Claim(upload.pk, token, offset, upload.length, checksum)):
        uploads.release(upload.pk, token, offset)
        return problem(501, "Not possible here", "Uploads need the ASGI server.")
    return _answer(204, upload)


@router.delete("/uploads/{uuid:pk}", summary="Give an upload up")
def give_up(request: HttpRequest, pk: UUID) -> Any:
    upload = _mine(request, pk)
    if (refusal := _version_refused(request)) is not None:
        return refusal
    if upload.status == UploadStatus.TAKEN:
        return problem(409, "Not possible now", "The image is a disk already: remove that.")
    uploads.give_up(upload)
    return _answer(204)


def _mine(request: HttpRequest, pk: UUID) -> Upload:
    """Nobody sees another's upload, whatever their role: its bytes are its sender's alone."""
    found = Upload.objects.select_related("domain", "user").filter(pk=pk, user=request.user).first()
    if found is None:
        raise Http404("There is no such upload.")
    return found


def _version_refused(request: HttpRequest) -> HttpResponse | None:
    if request.headers.get("Tus-Resumable") == VERSION:
        return None
    answer = problem(412, "Another version", f"Send «Tus-Resumable: {VERSION}».")
    answer["Tus-Version"] = VERSION
    return answer


def _number(request: HttpRequest, header: str) -> int:
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise FieldError(header, f"{header} is a number of bytes.")
    return int(text)


def _digits(text: str) -> int:
    return int(text) if text.isascii() and text.lstrip("-").isdecimal() and len(text) < 19 else 0


def _metadata(header: str) -> dict[str, str]:
    """`key base64, key base64, key`. What is not that is refused."""
    found = {}
    for pair in filter(None, (part.strip() for part in header[:8000].split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise FieldError("Upload-Metadata", f"The value of «{key[:40]}» is not Base64 of UTF-8.") from None
        if "\0" in found[key]:
            raise FieldError("Upload-Metadata", f"The value of «{key[:40]}» has a NUL character in it.")
    return found


def _checksum(header: str) -> bytes:
    """b"" when the client sends none."""
    if not header:
        return b""
    algorithm, _, value = header.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm != "sha256" or len(digest) != 32:
        raise FieldError("Upload-Checksum", "Checksums are «sha256 BASE64».")
    return digest
