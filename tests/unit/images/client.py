"""Requests through the whole ASGI application, in this process."""

import asyncio
import base64
from typing import Any

from portal.asgi import application

TUS = {"Tus-Resumable": "1.0.0"}


class Reply:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status = messages[0]["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])


class Caller:
    """Who calls: by a token, or by nothing."""

    def __init__(self, token: str = "") -> None:
        self.token = token

    async def __call__(self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = (), breaks: bool = False) -> Reply:
        """Args: body: its pieces. breaks: the connection ends instead of the body."""
        known = {"Host": "127.0.0.1"} | TUS | (headers or {})
        if self.token:
            known["Authorization"] = f"Bearer {self.token}"
        path, _, query = path.partition("?")
        pieces = list(body)
        incoming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        incoming.append({"type": "http.disconnect"} if breaks else {"type": "http.request", "body": b"", "more_body": False})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(), "http_version": "1.1", "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in known.items()], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "root_path": "", "asgi": {"version": "3.0"},
        }  # fmt: skip
        await application(scope, receive, send)
        return Reply(sent)

    async def begin(self, content: bytes | int, **metadata: str) -> Reply:
        length = content if isinstance(content, int) else len(content)
        told = {"filename": "disk.img"} | metadata
        pairs = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items())
        return await self("POST", "/api/v1/uploads", {"Upload-Length": str(length), "Upload-Metadata": pairs})

    async def append(self, location: str, offset: int, body: Any, breaks: bool = False, **headers: str) -> Reply:
        known = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        known |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self("PATCH", location, known, body, breaks)
