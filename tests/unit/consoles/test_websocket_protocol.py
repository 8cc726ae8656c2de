"""Our shortcut in uvicorn's WebSocket protocol, with a real server and a real client."""

import asyncio
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_blocking

from tests.waiting import until

SIZES = (0, 1, 125, 126, 65535, 65536, 1 << 20)


class Server:
    """uvicorn in a thread. /echo sends back what comes; /flood sends for as long as the client takes it."""

    def __init__(self) -> None:
        self.flooded = 0
        config = uvicorn.Config(
            self._app, port=0, ws="portal.websocket_protocol:FrugalWebSocketProtocol", loop="uvloop", log_level="error",
            lifespan="off", interface="asgi3", ws_per_message_deflate=False, timeout_graceful_shutdown=1, ws_max_size=2 << 20,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server.started, 10, "uvicorn to listen")
        self.url = f"ws://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/flood":
            while True:
                await send({"type": "websocket.send", "bytes": bytes(256 * 1024)})
                self.flooded += 256 * 1024
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


async def test_messages_of_every_length_arrive_as_they_were_sent(server: Server) -> None:
    async with connect(f"{server.url}/echo", max_size=None) as client:
        for size in SIZES:
            data = bytes(range(256)) * (size // 256) + bytes(size % 256)
            await client.send(data)
            assert await client.recv() == data
        await client.send("text")
        assert await client.recv() == "text"


async def test_many_messages_keep_their_order(server: Server) -> None:
    async with connect(f"{server.url}/echo", max_size=None) as client:
        sent = [bytes([number % 256]) * (number * 37) for number in range(300)]
        reader = asyncio.create_task(_collect(client, len(sent)))
        for data in sent:
            await client.send(data)
        assert await reader == sent


async def _collect(client: Any, count: int) -> list[bytes]:
    return [await client.recv() for _ in range(count)]


def test_a_client_that_does_not_read_stops_the_sender(server: Server) -> None:
    with connect_blocking(f"{server.url}/flood", max_size=None, max_queue=1) as client:
        client.recv()
        before = -1

        def stands_still() -> bool:
            nonlocal before
            before, now = server.flooded, server.flooded if server.flooded != before else -2
            return now == -2

        until(stands_still, 20, "the sender to stop", every=0.3)
        assert server.flooded < 32 << 20
        client.recv()
