"""When to ask which guest's agent: often after it connects, when addresses come one by one, then every half minute; a silent one rarely."""

import threading
import time
from collections.abc import Callable, Iterable

from hypervisor.guests import AgentInfo

SOON_SECONDS = 2.0
EVERY_SECONDS = 30.0
RAREST_SECONDS = 300.0
FIRST_SECONDS = 3.0  # after a guest is first seen to run: by then it has its row
AGAIN_SECONDS = 120.0  # what has not changed is told again, in case its row lost it


class AgentRounds:
    """The agents of one host's guests. They are asked one after the other: a guest that hangs takes seconds, and only theirs.

    Args:
        ask: fetches one guest's facts, or raises.
        tell: gets the facts when they differ from what it got last, and now and then when they do not.
    """

    def __init__(self, ask: Callable[[str], AgentInfo | None], tell: Callable[[str, AgentInfo], None]) -> None:
        self._ask, self._tell = ask, tell
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._pause: dict[str, float] = {}
        self._told: dict[str, tuple[AgentInfo, float]] = {}

    def running(self, uuids: Iterable[str]) -> None:
        """These guests run now, and no others."""
        present = set(uuids)
        with self._lock:
            for uuid in self._due.keys() - present:
                self._forget(uuid)
            for uuid in present - self._due.keys():
                self._due[uuid] = time.monotonic() + FIRST_SECONDS

    def connected(self, uuid: str) -> None:
        """Its agent has just come up: ask it now, whatever it said before."""
        with self._lock:
            self._forget(uuid)
            self._due[uuid] = time.monotonic()

    def restart(self) -> None:
        """Everything that was told may have been lost."""
        with self._lock:
            for uuid in list(self._due):
                self._forget(uuid)

    def _forget(self, uuid: str) -> None:
        for known in (self._due, self._pause, self._told):
            known.pop(uuid, None)

    def is_due(self) -> bool:
        with self._lock:
            return any(due <= time.monotonic() for due in self._due.values())

    def round(self) -> None:
        """Asks all that are due. Takes as long as it takes; never called twice at a time."""
        with self._lock:
            due = [uuid for uuid, at in self._due.items() if at <= time.monotonic()]
        for uuid in due:
            info = self._ask(uuid)
            if self._asked(uuid, info) and info is not None:
                self._tell(uuid, info)

    def _asked(self, uuid: str, info: AgentInfo | None) -> bool:
        """Notes when to ask again; True when the answer is to be told."""
        now = time.monotonic()
        with self._lock:
            if uuid not in self._due:
                return False  # it ended meanwhile
            before_that = self._pause.get(uuid, SOON_SECONDS / 2)
            pause = min(EVERY_SECONDS, 2 * before_that) if info else min(RAREST_SECONDS, max(EVERY_SECONDS, 2 * before_that))
            self._pause[uuid], self._due[uuid] = pause, now + pause
            before, told_at = self._told.get(uuid, (None, 0.0))
            if info is None or (info == before and now < told_at + AGAIN_SECONDS):
                return False
            self._told[uuid] = (info, now)
            return True
