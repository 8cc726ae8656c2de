"""The TCP connection to a display: bytes in both directions, never more of them in memory than a fixed bound."""

import asyncio
from collections import deque
from typing import cast

# What may wait for a slow browser; beyond it the host's data stays in the kernel, and TCP slows the host down.
MAX_WAITING_BYTES = 512 * 1024
RESUME_BYTES = 256 * 1024


class HostSocket(asyncio.Protocol):
    """Reads whatever the kernel has (up to 256 KB at a time under uvloop), which keeps the cost per byte low."""

    __slots__ = ("_chunks", "_reader", "_read_paused", "_transport", "_waiting", "_writable", "ended")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._reader: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._read_paused = False
        self._transport: asyncio.Transport | None = None
        self.ended = False

    @property
    def waiting(self) -> int:
        """Bytes that were read from the host and not yet taken."""
        return self._waiting

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting >= MAX_WAITING_BYTES and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._wake(self._reader)
        self._wake(self._writable)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self._wake(self._writable)
        self._writable = None

    @staticmethod
    def _wake(waiter: "asyncio.Future[None] | None") -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the console calls

    async def read(self) -> bytes:
        """The next bytes; empty when the host has closed."""
        while not self._chunks:
            if self.ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        chunk = self._chunks.popleft()
        self._waiting -= len(chunk)
        if self._read_paused and self._waiting <= RESUME_BYTES and self._transport is not None and not self.ended:
            self._read_paused = False
            self._transport.resume_reading()
        return chunk

    async def read_exactly(self, count: int) -> bytes:
        """Raises ConnectionResetError when the host closes before that many bytes."""
        data = bytearray()
        while len(data) < count:
            chunk = await self.read()
            if not chunk:
                raise ConnectionResetError("the display closed the connection")
            data += chunk
        if len(data) > count:
            rest = bytes(data[count:])
            self._chunks.appendleft(rest)
            self._waiting += len(rest)
        return bytes(data[:count])

    async def write(self, data: bytes) -> None:
        """Returns when the host takes more: a display that does not read slows the browser down."""
        if self._transport is not None and not self.ended:
            self._transport.write(data)
            if self._writable is not None:
                await self._writable

    def close(self) -> None:
        """Drops the connection at once."""
        if self._transport is not None:
            self._transport.abort()


async def connect(address: str, port: int, timeout: float) -> HostSocket:
    """Raises OSError, or TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        _transport, protocol = await asyncio.get_running_loop().create_connection(HostSocket, address, port)
    return protocol
