"""The two lines that lead to a VM: its screen and its serial port. Both read no more from the host than the browser takes."""

import asyncio
import threading
from collections import deque
from typing import Protocol

from hypervisor.errors import Busy, HypervisorError, InvalidState
from hypervisor.serial import SerialSession
from vms.consoles import reach, rfb
from vms.consoles.endings import Close, Ending
from vms.consoles.hostsocket import MAX_WAITING_BYTES, RESUME_BYTES
from vms.consoles.viewonly import UnknownMessage, ViewOnlyFilter
from vms.models import VM

OPEN_SECONDS = 15.0
_FRAME_BYTES = 128 * 1024


class Line(Protocol):
    """What a console copies from and to."""

    why_ended: str

    @classmethod
    async def open(cls, vm: VM, *, view_only: bool, force: bool) -> "Line":
        """Raises Ending when there is nothing to show, with the reason."""

    async def read(self) -> bytes:
        """The next bytes from the VM; empty when the line has ended."""

    async def write(self, data: bytes) -> None:
        """Returns when the VM takes more. Raises ValueError for what cannot be meant."""

    def close(self) -> None:
        """Ends it at once; safe to call twice."""


async def _on_host(function, *arguments):  # type: ignore[no-untyped-def]
    """Runs a call to the host on the consoles' own threads, for a limited time."""
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(reach.threads, function, *arguments)
    except TimeoutError:
        raise Ending(Close.AWAY, "unreachable", "The host did not answer in time.", retry=True) from None
    except reach.Unreachable as error:
        raise Ending(Close.AWAY, "unreachable", str(error), retry=True) from None


class ScreenLine:
    """A VNC display, with the host's handshake done and the browser's being played."""

    why_ended = "The display closed: the VM was powered off, restarted or moved."

    def __init__(self, screen: rfb.Screen, view_only: bool) -> None:
        self._socket = screen.socket
        # Two messages: noVNC 1.7 looks at what follows the version only when the next message comes.
        self._greeting = [rfb.VERSION, rfb.WELCOME + screen.server_init]
        self._answer = b""
        self._answered = False
        self._filter = ViewOnlyFilter() if view_only else None

    @classmethod
    async def open(cls, vm: VM, *, view_only: bool, force: bool) -> "ScreenLine":
        where = await _on_host(reach.find_display, vm)
        try:
            try:
                screen = await rfb.open_screen(where.address, where.port, where.password)
            except rfb.PasswordRefused:
                password = await _on_host(reach.renew_password, vm)
                screen = await rfb.open_screen(where.address, where.port, password)
        except rfb.NoRoom as error:
            raise Ending(Close.FULL, "full", str(error)) from None
        except rfb.RfbError as error:
            raise Ending(Close.AWAY, "unreachable", str(error), retry=True) from None
        except (OSError, TimeoutError) as error:
            reason = f"The display of {vm.name} does not answer at {where.address}, port {where.port}: {error or 'no answer in time'}"
            raise Ending(Close.AWAY, "unreachable", reason, retry=True) from None
        return cls(screen, view_only)

    async def read(self) -> bytes:
        if self._greeting:
            return self._greeting.pop(0)
        return await self._socket.read()

    async def write(self, data: bytes) -> None:
        if not self._answered:
            data = self._after_answer(data)
        if self._filter is not None:
            try:
                data = self._filter.feed(data)
            except UnknownMessage as error:
                raise ValueError(f"A viewer sent what this console does not know: {error}.") from None
        if data:
            await self._socket.write(data)

    def _after_answer(self, data: bytes) -> bytes:
        """The handshake with the host is over, so the browser's own answers stay here."""
        self._answer += data
        if len(self._answer) < rfb.ANSWER_LENGTH:
            return b""
        answer, rest = self._answer[: rfb.ANSWER_LENGTH], self._answer[rfb.ANSWER_LENGTH :]
        if not rfb.is_answer(answer):
            raise ValueError("The browser does not speak RFB 3.8 without authentication.")
        self._answered, self._answer = True, b""
        return rest

    def close(self) -> None:
        self._socket.close()


class SerialLine:
    """A serial console through libvirt's stream."""

    def __init__(self, view_only: bool) -> None:
        self.why_ended = "The serial console ended."
        self._view_only = view_only
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._paused = False
        self._ended = False
        self._news = asyncio.Event()
        self._session: SerialSession | None = None

    @classmethod
    async def open(cls, vm: VM, *, view_only: bool, force: bool) -> "SerialLine":
        line = cls(view_only)
        try:
            await _on_host(line._open, vm, force)
        except Busy:
            raise Ending(Close.BUSY, "busy", f"Someone else is connected to the serial console of {vm.name}, outside of Vireo.") from None
        except InvalidState:
            raise Ending(Close.NOTHING_TO_SHOW, "down", f"{vm.name} does not run.") from None
        except HypervisorError as error:
            raise Ending(Close.AWAY, "unreachable", f"The serial console of {vm.name} cannot be opened: {error}", retry=True) from None
        return line

    def _open(self, vm: VM, force: bool) -> None:
        session = SerialSession(reach.link(vm), str(vm.pk), self._on_data, self._on_close, force=force)
        with self._lock:
            self._session = session
            gone = self._ended
        if gone:
            session.close()

    # Called by libvirt's event thread

    def _on_data(self, data: bytes) -> None:
        with self._lock:
            self._chunks.append(data)
            self._waiting += len(data)
            pause = self._waiting >= MAX_WAITING_BYTES and not self._paused and self._session is not None
            self._paused = self._paused or pause
        if pause and self._session is not None:
            self._session.pause_reading()
        self._wake()

    def _on_close(self, reason: str) -> None:
        self.why_ended = f"The serial console ended: {reason}."
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    # Called by the console

    async def read(self) -> bytes:
        while True:
            self._news.clear()
            if data := self._take():
                return data
            if self._ended:
                return b""
            await self._news.wait()

    def _take(self) -> bytes:
        """Small pieces travel together: a guest that prints by the character would cost a frame each."""
        parts, size, resume = [], 0, False
        with self._lock:
            while self._chunks and size < _FRAME_BYTES:
                parts.append(self._chunks.popleft())
                size += len(parts[-1])
            self._waiting -= size
            if self._paused and self._waiting <= RESUME_BYTES:
                self._paused, resume = False, True
        if resume and self._session is not None:
            self._session.resume_reading()
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        session = self._session
        if session is None or self._view_only:
            return
        for at in range(0, len(data), _FRAME_BYTES):
            while session.pending and not self._ended:
                await asyncio.sleep(0.02)  # libvirt has no callback for "all written"; a guest that reads takes it in less
            try:
                session.write(data[at : at + _FRAME_BYTES])
            except InvalidState:
                return  # the reader tells why it ended

    def close(self) -> None:
        with self._lock:
            self._ended = True
            session, self._session = self._session, None
        if session is not None:
            session.close()
