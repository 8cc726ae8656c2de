"""A domain's serial console as a stream of bytes.

All of libvirt's stream calls are made on its event thread, where they do not block; only opening and ending ask the host.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

import libvirt

from .errors import Busy, HostUnreachable, HypervisorError, InvalidState, NotSupported, translate
from .links import HostLink
from .session import Session

_READ_BYTES = 64 * 1024
OPEN_SECONDS = 10.0
# Typing never fills it; a paste larger than that is refused, and the caller waits for `writable`.
MAX_PENDING_BYTES = 256 * 1024
_ALWAYS = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP


class SerialSession:
    """One open serial console.

    Args:
        on_data: gets what the guest wrote, on the event thread: it must return at once.
        on_close: called once when the console ends by itself, with the reason (the guest stopped, the connection was lost).
        force: throw out whoever is connected now.

    Raises:
        Busy: someone else is connected, and `force` was not given.
        InvalidState: the domain does not run; NotFound: no such domain or console.
    """

    def __init__(
        self,
        link: HostLink,
        uuid: str,
        on_data: Callable[[bytes], None],
        on_close: Callable[[str], None] = lambda reason: None,
        *,
        force: bool = False,
    ) -> None:
        self._link = link
        self._on_data = on_data
        self._on_close = on_close
        self._lock = threading.Lock()
        self._pending = bytearray()
        self._paused = False
        self._ended = False
        self._stream: libvirt.virStream | None = None
        # A stream's end is a call like any other, and two at a time are too many for one connection (see lanes).
        self._session: Session = link.open_apart(OPEN_SECONDS, lambda error: self._finish(error.message))
        try:
            self._session.run(lambda connection: self._open(connection, uuid, force), OPEN_SECONDS, "opening the serial console")
        except HypervisorError:
            self.close()
            raise

    @classmethod
    def take_over(
        cls, link: HostLink, uuid: str, on_data: Callable[[bytes], None], on_close: Callable[[str], None] = lambda reason: None
    ) -> "SerialSession":
        """Open it, and throw out whoever is connected."""
        return cls(link, uuid, on_data, on_close, force=True)

    def _open(self, connection: libvirt.virConnect, uuid: str, force: bool) -> None:
        domain = connection.lookupByUUIDString(uuid)
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        try:
            domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else libvirt.VIR_DOMAIN_CONSOLE_SAFE)
        except libvirt.libvirtError as error:
            refused = translate(error)
            if isinstance(refused, Busy):
                raise Busy(f"someone else is connected to the serial console of {domain.name()}", refused.code, refused.domain) from None
            if isinstance(refused, NotSupported) and not force and "safe" in refused.message:
                raise Busy(f"{connection.getHostname()} cannot tell whether someone else is connected", refused.code) from None
            raise
        # A libvirtd that takes the domain down before it has seen the console's end never tells of that end.
        watched = connection.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None)
        self._session.add_cleanup(self, lambda: self._release(connection, watched, stream))
        with self._lock:
            if not self._ended:
                self._stream = stream
                stream.eventAddCallback(self._events(), self._on_event, None)

    @staticmethod
    def _release(connection: libvirt.virConnect, watched: int, stream: libvirt.virStream) -> None:
        """Take libvirt's side down; runs on the connection's own thread, because it may wait for the host."""
        with suppress(libvirt.libvirtError):
            connection.domainEventDeregisterAny(watched)
        with suppress(libvirt.libvirtError):
            stream.eventRemoveCallback()
        with suppress(libvirt.libvirtError):
            stream.abort()

    def _events(self) -> int:
        readable = 0 if self._paused else libvirt.VIR_STREAM_EVENT_READABLE
        return _ALWAYS | readable | (libvirt.VIR_STREAM_EVENT_WRITABLE if self._pending else 0)

    def _update(self) -> None:
        """Tell libvirt what we wait for; the lock is held."""
        if self._stream and not self._ended:
            with suppress(libvirt.libvirtError):
                self._stream.eventUpdateCallback(self._events())

    # Called by the console's owner, from any thread

    def write(self, data: bytes) -> None:
        """Queue bytes for the guest; never blocks.

        Raises:
            InvalidState: the console has ended; Busy: the guest does not read, and 256 KiB wait.
        """
        with self._lock:
            if self._ended:
                raise InvalidState("the serial console has ended")
            if len(self._pending) + len(data) > MAX_PENDING_BYTES:
                raise Busy("the guest does not read its serial console")
            self._pending += data
            self._update()

    @property
    def pending(self) -> int:
        """Bytes that the guest has not taken."""
        return len(self._pending)

    def pause_reading(self) -> None:
        """Leave the guest's output at the host, for a reader that is slower than the guest."""
        with self._lock:
            self._paused = True
            self._update()

    def resume_reading(self) -> None:
        """Go on after pause_reading."""
        with self._lock:
            self._paused = False
            self._update()

    def close(self) -> None:
        """End it; on_close is not called. Safe to call twice, and never waits for the host."""
        self._end()
        self._session.retire(HostUnreachable("the serial console was closed"))

    def _end(self) -> bool:
        """Mark it as ended; True for the first who does."""
        with self._lock:
            first = not self._ended
            self._ended = True
            self._pending.clear()
            self._stream = None
            return first

    # Called by libvirt, on the event thread

    def _on_lifecycle(self, _connection: libvirt.virConnect, _domain: libvirt.virDomain, event: int, _detail: int, _opaque: None) -> None:
        if event != libvirt.VIR_DOMAIN_EVENT_STOPPED:
            return
        stream = self._stream
        with suppress(libvirt.libvirtError):
            while stream is not None and (data := stream.recv(_READ_BYTES)) and data != -2:
                self._on_data(data)
        self._finish("the guest stopped")

    def _on_event(self, stream: libvirt.virStream, events: int, _opaque: None) -> None:
        try:
            if events & libvirt.VIR_STREAM_EVENT_READABLE and not self._paused and self._read(stream):
                return
            if events & libvirt.VIR_STREAM_EVENT_WRITABLE:
                self._write(stream)
        except libvirt.libvirtError as error:
            self._finish(translate(error).message)
            return
        if events & _ALWAYS:
            self._finish("the guest stopped, or the connection was lost")

    def _read(self, stream: libvirt.virStream) -> bool:
        """Hand on what is there; True when that was the end."""
        data = stream.recv(_READ_BYTES)
        if data == -2:
            return False
        if not data:
            self._finish("the console was closed by the host, or someone took it over")
            return True
        self._on_data(data)
        return False

    def _write(self, stream: libvirt.virStream) -> None:
        with self._lock:
            if self._pending:
                sent = stream.send(bytes(self._pending[:_READ_BYTES]))
                if sent > 0:
                    del self._pending[:sent]
            self._update()

    def _finish(self, reason: str) -> None:
        if self._end():
            self._session.retire(HostUnreachable(reason))
            self._on_close(reason)
