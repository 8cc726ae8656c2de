"""Bytes of an upload, from the socket into its file: an ASGI application around Django's.

Django reads a whole body before its view begins. So the view is asked first, with an empty body: session, token, CSRF and
rights are judged as for every request, and it answers with a claim. Then the bytes are written as they arrive, in pieces of
about a MiB, one of them being written while the next one comes. That is all the memory that an upload takes.
"""

import asyncio
import errno
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.urls import reverse

from portal.errors import NotPossible
from storage.images import spool, uploads
from storage.images.models import Upload, UploadStatus

log = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PREFIX = "/api/v1/uploads/"
PIECE = 1 << 20
NOTE_SECONDS = 2.0  # between two notes of how far the file is
# A client that sends nothing for so long is gone, whatever its socket says.
SILENCE_SECONDS = 60.0
_HOLDER = "vireo.upload"
_CHECKSUM_MISMATCH = 460


@dataclass(frozen=True)
class Claim:
    """What a view lets a request do: append to this upload, from here to its end at most."""

    upload: UUID
    token: UUID
    offset: int
    length: int
    checksum: bytes = b""


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def hand_over(request: HttpRequest, claim: Claim) -> bool:
    """Called by the view that has claimed an upload; False when nothing around it waits for the claim."""
    holder = getattr(request, "scope", {}).get(_HOLDER)
    if holder is None:
        return False
    holder.append(claim)
    return True


def onward(upload: Upload) -> str:
    """Where whoever sent it goes next; "" while bytes are missing."""
    if upload.status == UploadStatus.TAKEN and upload.disk_id:
        return reverse("storage:disk", args=[upload.disk_id])
    if upload.status == UploadStatus.COMPLETE:
        return reverse("vms:import-ova", args=[upload.pk])
    return ""


class ReceiveUploads:
    """ASGI: PATCH requests to uploads are received here, all others by the application within."""

    def __init__(self, application: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "PATCH" or not scope["path"].startswith(PREFIX):
            await self.application(scope, receive, send)
            return
        claims: list[Claim] = []
        answer = await self._ask(scope, claims)
        if not claims:
            for message in answer:
                await send(message)
            return
        await _serve(claims[0], answer[0], receive, send)

    async def _ask(self, scope: Message, claims: list[Claim]) -> list[Message]:
        """Django's answer to the request without its body."""
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding", b"expect")]
        sent: list[Message] = []
        asked = False

        async def no_body() -> Message:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # Django then listens for the client's end, until its view has answered
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def keep(message: Message) -> None:
            sent.append(message)

        await self.application({**scope, "headers": [*headers, (b"content-length", b"0")], _HOLDER: claims}, no_body, keep)
        return sent


async def _serve(claim: Claim, head: Message, receive: Receive, send: Send) -> None:
    headers = [(name, value) for name, value in head["headers"] if name.lower() not in (b"content-length", b"content-type")]
    status, body, onward_to = 204, b"", ""
    try:
        offset = await _Writer(claim).run(receive)
        headers.append((b"upload-offset", str(offset).encode()))
        if offset == claim.length:
            onward_to = await database_sync_to_async(_finish)(claim.upload)
    except _Refused as error:
        status, body = error.status, str(error).encode()
    if onward_to:
        headers.append((b"vireo-next", onward_to.encode()))
    if body:
        headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    with suppress(OSError):  # the client may be gone
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _finish(key: UUID) -> str:
    try:
        return onward(uploads.finish(key))
    except uploads.NoImage as error:
        raise _Refused(422, error.text) from None
    except (PermissionDenied, NotPossible) as error:
        raise _Refused(409, str(error)) from None
    except ValidationError as error:
        raise _Refused(409, " ".join(error.messages)) from None


class _Writer:
    """One request's bytes into the file of its upload."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.at = claim.offset  # written up to here
        self._digest = hashlib.sha256() if claim.checksum else None
        self._noted = time.monotonic()

    async def run(self, receive: Receive) -> int:
        """Reads to the end of the body, or of the connection; the offset that counts from then on.

        Raises:
            _Refused: the disk is full, the body too long, the checksum wrong, or the claim another's.
        """
        try:
            descriptor = os.open(spool.path_of(self.claim.upload), os.O_WRONLY)
        except OSError:
            await self._note("release", self.claim.offset)
            raise _Refused(410, "The file of this upload is gone: begin again.") from None
        try:
            await self._receive(descriptor, receive)
            if self._digest is not None and self._digest.digest() != self.claim.checksum:
                self.at = self.claim.offset
                raise _Refused(_CHECKSUM_MISMATCH, "The checksum of these bytes is another: they are sent again.")
        finally:
            os.close(descriptor)
            kept = await self._note("release", self.at)
        if not kept:
            raise _Refused(409, "Another request has taken this upload over, or it was given up.")
        return self.at

    async def _receive(self, descriptor: int, receive: Receive) -> None:
        """One piece is written while the next one comes. A client that ends its connection, or falls silent, ends the body there."""
        pieces: list[bytes] = []
        held = 0
        writing: asyncio.Task[None] | None = None
        clock = asyncio.get_running_loop().time
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_SECONDS) as patience:
                    more = True
                    while more and (message := await receive())["type"] == "http.request":
                        pieces.append(message.get("body", b""))
                        held += len(pieces[-1])
                        more = message.get("more_body", False)
                        if held >= PIECE:
                            if writing is not None:
                                await writing
                            writing = asyncio.ensure_future(self._write(descriptor, pieces))
                            pieces, held = [], 0
                            await self._note_now_and_then()
                        patience.reschedule(clock() + SILENCE_SECONDS)
        finally:
            if writing is not None:
                await writing
        if pieces:
            await self._write(descriptor, pieces)

    async def _write(self, descriptor: int, pieces: list[bytes]) -> None:
        try:
            await asyncio.to_thread(self._write_all, descriptor, pieces)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _Refused(507, "The portal has no space left. What was sent is kept: resume when there is room again.") from None
            log.exception("an upload could not be written")
            raise _Refused(500, "The file could not be written; the portal's log has the details.") from None

    def _write_all(self, descriptor: int, pieces: list[bytes]) -> None:
        if self.at + sum(map(len, pieces)) > self.claim.length:
            raise _Refused(413, "This is more than the upload's length.")
        waiting = [memoryview(piece) for piece in pieces if piece]
        while waiting:
            written = os.pwritev(descriptor, waiting[:64], self.at)
            self.at += written
            while waiting and written >= len(waiting[0]):
                piece = waiting.pop(0)
                written -= len(piece)
                if self._digest is not None:
                    self._digest.update(piece)
            if written:
                if self._digest is not None:
                    self._digest.update(waiting[0][:written])
                waiting[0] = waiting[0][written:]

    async def _note_now_and_then(self) -> None:
        """Not while a checksum is awaited: bytes that it may still refuse do not count yet."""
        if time.monotonic() - self._noted < NOTE_SECONDS:
            return
        self._noted = time.monotonic()
        if not await self._note("advance", self.claim.offset if self._digest is not None else self.at):
            raise _Refused(409, "Another request has taken this upload over, or it was given up.")

    async def _note(self, how: str, offset: int) -> bool:
        return await database_sync_to_async(getattr(uploads, how))(self.claim.upload, self.claim.token, offset)
