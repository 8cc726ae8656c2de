"""Answers that carry a file: whole or in the part that was asked for, streamed, with an ETag to go on by."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

from storage.images import downloads
from storage.images.downloads import Part


def send(request: HttpRequest, obj: Any, total: int, suffix: str, body: Callable[[Part], AsyncIterator[bytes]], tag: str) -> HttpResponse:
    """The bytes that `body` gives of a part, for the Range that the request asks for.

    Args:
        obj: what the file is of; the file is called by its name.
        tag: differs when the bytes do.
    """
    etag = f'"{obj.pk.hex}-{tag}-{total}"'
    wanted = request.headers.get("Range", "") if request.headers.get("If-Range", etag) == etag else ""
    try:
        part = downloads.part_of(total, wanted)
    except downloads.BadRange:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{total}"})
    name = obj.name if obj.name.endswith(f".{suffix}") else f"{obj.name}.{suffix}"
    headers = {
        "Content-Length": str(part.length),
        "Content-Disposition": content_disposition_header(True, name.replace("/", "_")) or "attachment",
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, no-transform",
    }
    if not part.is_whole:
        headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{total}"
    status = 200 if part.is_whole else 206
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers, content_type="application/octet-stream")
    downloads.note(request.user, obj, part)
    return StreamingHttpResponse(body(part), status=status, headers=headers, content_type="application/octet-stream")


def send_file(request: HttpRequest, path: Path, obj: Any, suffix: str) -> HttpResponse:
    """A file of the spool."""
    found = path.stat()
    return send(request, obj, found.st_size, suffix, lambda part: downloads.from_file(path, part), str(found.st_mtime_ns))
