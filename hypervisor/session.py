"""One libvirt connection and the calls that run on it.

Two rules keep a process alive here: a connection is closed only when no call runs on it (libvirt frees it under a running call),
and never on a thread that anyone waits for (closing asks the host, which may be frozen).
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import Any, TypeVar

import libvirt

from .crew import Crew
from .errors import CallTimeout, HostUnreachable, HypervisorError, translate

T = TypeVar("T")

KEEPALIVE_SECONDS = 2
KEEPALIVE_MISSES = 3
_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "input/output error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd ended",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "no answer to keepalive",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by us",
}


class Session:
    """A live connection; when it is lost or given up it is retired, and every waiting call fails at once.

    Args:
        connection: freshly opened, owned by the session from now on.
        name: of the host, for messages and threads.
        size: calls that run at the same time.
        on_lost: called once, on libvirt's event thread, when libvirt notices the loss.
    """

    def __init__(self, connection: libvirt.virConnect, name: str, size: int, on_lost: "Callable[[Session, HostUnreachable], None]") -> None:
        self._connection = connection
        self._name = name
        self._crew = Crew(f"host-{name}", size)
        self._lock = threading.Lock()
        self._running = 0
        self._retired: HostUnreachable | None = None
        self._closed = False
        self._waiting: set[Future[Any]] = set()
        self._cleanups: dict[object, Callable[[], None]] = {}
        self.since = time.time()
        with suppress(libvirt.libvirtError):  # the test driver has neither
            connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_MISSES)
        with suppress(libvirt.libvirtError):
            connection.registerCloseCallback(lambda _connection, reason, _opaque: on_lost(self, self._lost_error(reason)), None)

    def _lost_error(self, reason: int) -> HostUnreachable:
        return HostUnreachable(f"connection to {self._name} lost: {_CLOSE_REASONS.get(reason, 'unknown reason')}")

    def run(self, fn: Callable[[libvirt.virConnect], T], timeout: float, what: str, finished: Callable[[], None] = lambda: None) -> T:
        """Run `fn` on one of the session's threads and return what it returns.

        Args:
            finished: called once when `fn` has really ended, which after a CallTimeout may be much later.

        Raises:
            CallTimeout: `timeout` seconds have passed; the call may still be running, or never have begun.
            HypervisorError: what libvirt answered, or the session was retired meanwhile.
        """
        future: Future[T] = Future()
        with self._lock:
            retired = self._retired
            if not retired:
                self._waiting.add(future)
        if retired:
            finished()
            raise retired.copy()
        self._crew.submit(lambda: self._perform(fn, future, finished))
        try:
            wait([future], timeout)
            if future.cancel():
                raise CallTimeout(f"{self._name} was too busy to begin {what or 'a call'} within {timeout:.3g} s")
            if not future.done():
                raise CallTimeout(f"{self._name} did not finish {what or 'a call'} within {timeout:.3g} s")
            return future.result()
        finally:
            with self._lock:
                self._waiting.discard(future)

    def _perform(self, fn: Callable[[libvirt.virConnect], T], future: "Future[T]", finished: Callable[[], None]) -> None:
        with self._lock:
            begin = not self._retired and future.set_running_or_notify_cancel()
            self._running += begin
        if begin:
            self._deliver(fn, future)
            with self._lock:
                self._running -= 1
                close = bool(self._retired) and self._running == 0
            if close:
                self._close()
        finished()

    def _deliver(self, fn: Callable[[libvirt.virConnect], T], future: "Future[T]") -> None:
        error: BaseException
        try:
            value = fn(self._connection)
        except libvirt.libvirtError as refused:
            error = translate(refused)
        except HypervisorError as ours:
            # Without the traceback: its frames hold libvirt objects, which must not outlive the session.
            error = ours.with_traceback(None)
            error.__context__ = error.__cause__ = None
        except BaseException as bug:  # noqa: BLE001 - the caller raises it
            error = bug
        else:
            with suppress(InvalidStateError):
                future.set_result(value)
            return
        with suppress(InvalidStateError):
            future.set_exception(error)

    @property
    def retired(self) -> HostUnreachable | None:
        """Why it was retired, None while it lives."""
        return self._retired

    def add_cleanup(self, key: object, cleanup: Callable[[], None]) -> None:
        """Have `cleanup` called on a thread of the session before it closes, with libvirt's errors ignored."""
        with self._lock:
            self._cleanups[key] = cleanup

    def take_cleanup(self, key: object) -> Callable[[], None] | None:
        """Take a cleanup back, to call it earlier."""
        with self._lock:
            return self._cleanups.pop(key, None)

    def retire(self, error: HostUnreachable) -> None:
        """Fail all that wait, refuse what comes, close when the last running call has ended. Never blocks."""
        with self._lock:
            if self._retired:
                return
            self._retired = error
            waiting, idle = list(self._waiting), self._running == 0
        for future in waiting:
            with suppress(InvalidStateError):
                future.set_exception(error.copy())
        if idle:
            self._crew.submit(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            cleanups = list(self._cleanups.values())
            self._cleanups.clear()
        for cleanup in cleanups:
            with suppress(libvirt.libvirtError):
                cleanup()
        with suppress(libvirt.libvirtError):
            self._connection.unregisterCloseCallback()
        with suppress(libvirt.libvirtError):
            self._connection.close()
