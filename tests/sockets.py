"""A signed-in browser with its pages and consoles, straight into the application, without a server between."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from vms.models import VM

# Those of this test, so that its end can wait for what their applications still write.
opened: list["Socket"] = []


class Socket:
    """A browser's end.

    Args:
        headers: with Origin and Cookie, as a browser sends them.

    Attributes:
        reads: cleared, the browser takes no binary message, and whoever sends one waits.
    """

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "ws",
            "headers": headers, "client": ("127.0.0.1", 40000), "server": ("127.0.0.1", 8000), "subprotocols": [], "http_version": "1.1",
        }  # fmt: skip
        from portal.asgi import application

        self.reads = asyncio.Event()
        self.reads.set()

        async def application_of_a_slow_browser(scope: Any, receive: Any, send: Any) -> None:
            async def wait_and_send(message: dict[str, Any]) -> None:
                if message.get("bytes"):
                    await self.reads.wait()
                await send(message)

            await application(scope, receive, wait_and_send)

        self._app = ApplicationCommunicator(application_of_a_slow_browser, scope)
        opened.append(self)

    async def connect(self, seconds: float = 5) -> bool:
        """True when the application accepts."""
        await self._app.send_input({"type": "websocket.connect"})
        return (await self._app.receive_output(seconds))["type"] == "websocket.accept"

    async def say(self, **message: Any) -> None:
        await self.say_raw(json.dumps(message))

    async def say_raw(self, text: str) -> None:
        await self._app.send_input({"type": "websocket.receive", "text": text})

    async def send(self, data: bytes) -> None:
        await self._app.send_input({"type": "websocket.receive", "bytes": data})

    async def receive(self, seconds: float = 5) -> dict[str, Any]:
        """The next message as it comes: with "bytes", "text" or "code"."""
        return await self._app.receive_output(seconds)

    async def hear(self, op: str, seconds: float = 5, *, when: Callable[[dict[str, Any]], bool] = lambda said: True) -> dict[str, Any]:
        """The next text message with this `op`, for which `when` holds; others are passed over."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self.receive(seconds)
                assert message["type"] == "websocket.send", f"closed while {op} was awaited: {message}"
                if message.get("text") and (said := json.loads(message["text"]))["op"] == op and when(said):
                    return said

    async def bytes(self, count: int, seconds: float = 5) -> bytes:
        """At least that many bytes of binary messages."""
        data = b""
        async with asyncio.timeout(seconds):
            while len(data) < count:
                data += (await self.receive(seconds)).get("bytes") or b""
        return data

    async def closed(self, seconds: float = 5) -> int:
        """Waits for the close, passing over what comes before, and for what the application still writes then; its code."""
        async with asyncio.timeout(seconds):
            while (message := await self.receive(seconds))["type"] != "websocket.close":
                pass
        await self.leave()
        return message["code"]

    async def leave(self) -> None:
        await self._app.send_input({"type": "websocket.disconnect", "code": 1001})
        await self._app.wait(5)

    async def end(self) -> None:
        """As when the browser goes away; nothing when the application has ended."""
        if self._app.future is not None and not self._app.future.done():
            self.reads.set()
            await self.leave()


class Browser:
    """A signed-in user: pages, tickets and sockets."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.client = Client()
        self.client.force_login(user)

    async def opens(self, vm: VM, kind: str = "vnc", **options: str) -> Socket:
        """The socket after its ticket was taken."""
        socket = self.socket(vm, kind)
        assert await socket.connect()
        await socket.say(ticket=await sync_to_async(self.ticket)(vm, kind, **options))
        return socket

    def ticket(self, vm: VM, kind: str = "vnc", **options: str) -> str:
        answer = self.client.post(f"/vms/{vm.pk}/console/ticket/", {"kind": kind, **options})
        assert answer.status_code == 200, answer.content
        return answer.json()["ticket"]

    def socket(self, vm: VM, kind: str = "vnc", origin: str = "http://localhost") -> Socket:
        return self._socket(f"/ws/vms/{vm.pk}/{kind}", origin)

    def live(self, origin: str = "http://localhost") -> Socket:
        """The socket of a page."""
        return self._socket("/ws/live", origin)

    def _socket(self, path: str, origin: str) -> Socket:
        cookie = f"vireo_session={self.client.cookies['vireo_session'].value}"
        headers = [(b"origin", origin.encode()), (b"cookie", cookie.encode()), (b"host", b"localhost")]
        return Socket(path, headers)
