"""The connections to one host, each with one call at a time.

libvirt's client (seen with 9.0.0) does not survive a keepalive timeout while two calls are under way on one connection: the second
hangs, and crashes the process when the host comes back. libvirtd also reads no keepalive from a connection with five calls
under way. So calls that come at the same time get connections of their own, which are kept for the next ones.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import libvirt

from .errors import CallTimeout, HostUnreachable
from .session import Session

T = TypeVar("T")

MAX_CALLS = 8
MAX_IDLE = 2


class Lanes:
    """The main connection, which events come from, and more beside it while calls overlap.

    Args:
        main: given up together with all others.
        open_lane: makes another connection within so many seconds.
        exclusive: one call at a time on a connection; False for drivers inside this process, whose every connection is another world.
    """

    def __init__(self, main: Session, name: str, open_lane: Callable[[float], Session], exclusive: bool) -> None:
        self.main = main
        self._name = name
        self._open_lane = open_lane
        self._exclusive = exclusive
        self._changed = threading.Condition()
        self._busy: set[Session] = set()
        self._idle: list[Session] = []
        self._extra = 0
        self._retired: HostUnreachable | None = None

    def run(self, fn: Callable[[libvirt.virConnect], T], timeout: float, what: str, on_main: bool = False) -> T:
        """Run `fn(connection)` on a free connection.

        Args:
            on_main: on the main one and no other.

        Raises:
            As Session.run.
        """
        if not self._exclusive:
            return self.main.run(fn, timeout, what)
        deadline = time.monotonic() + timeout
        session = self._take(deadline, timeout, what, on_main)
        return session.run(fn, max(0.001, deadline - time.monotonic()), what, lambda: self._give_back(session))

    def _take(self, deadline: float, timeout: float, what: str, on_main: bool) -> Session:
        with self._changed:
            while True:
                if self._retired:
                    raise self._retired.copy()
                free = self._free(on_main)
                if free:
                    self._busy.add(free)
                    return free
                if not on_main and self._extra < MAX_CALLS - 1:
                    self._extra += 1
                    break
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._changed.wait(remaining):
                    raise CallTimeout(f"{self._name} was too busy to begin {what or 'a call'} within {timeout:.3g} s")
        try:
            session = self._open_lane(max(0.001, deadline - time.monotonic()))
        except BaseException:
            with self._changed:
                self._extra -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._busy.add(session)
            retired = self._retired
        if retired:
            session.retire(retired)
        return session

    def _free(self, on_main: bool) -> Session | None:
        if self.main not in self._busy:
            return self.main
        while self._idle and not on_main:
            session = self._idle.pop()
            if not session.retired:
                return session
            self._extra -= 1
        return None

    def _give_back(self, session: Session) -> None:
        with self._changed:
            self._busy.discard(session)
            surplus = session is not self.main and self._keep(session)
            self._changed.notify()
        if surplus:
            session.retire(HostUnreachable(f"a spare connection to {self._name} was closed"))

    def _keep(self, session: Session) -> bool:
        """Put a lane aside for the next call; True when it is to be closed instead."""
        if session.retired or self._retired or len(self._idle) >= MAX_IDLE:
            self._extra -= 1
            return True
        self._idle.append(session)
        return False

    def add(self, session: Session) -> None:
        """Take in a connection that was made for another reason."""
        with self._changed:
            self._extra += 1
            surplus = self._keep(session)
            self._changed.notify()
        if surplus:
            session.retire(HostUnreachable(f"a spare connection to {self._name} was closed"))

    def retire(self, error: HostUnreachable) -> None:
        """Give all of them up: those who wait fail at once. Never blocks."""
        with self._changed:
            self._retired = self._retired or error
            all_sessions = [self.main, *self._busy, *self._idle]
            self._changed.notify_all()
        for session in all_sessions:
            session.retire(error)
