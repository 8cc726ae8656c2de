"""How often a storage is really asked: listing one of thousands of files costs its host more than looking at an empty one."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

PAUSE_SECONDS = 25.0  # a little less than the watcher's sweep, so that a cheap look is part of each
COST = 50  # a look that takes a second is taken once in 50


class Pace:
    """Remembers, in this process, when each thing may be looked at again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def is_due(self, key: Hashable) -> bool:
        with self._lock:
            return self._clock() >= self._next.get(key, float("-inf"))

    @contextmanager
    def timed(self, key: Hashable) -> Iterator[None]:
        """Around one look; what it took, or waited in vain, decides when the next is due."""
        began = self._clock()
        try:
            yield
        finally:
            ended = self._clock()
            with self._lock:
                self._next[key] = ended + max(PAUSE_SECONDS, COST * (ended - began))

    def forget(self) -> None:
        """All is due."""
        with self._lock:
            self._next.clear()


pace = Pace()
