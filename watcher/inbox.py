"""What was heard of one host, applied in order, one batch at a time, however many hosts share the threads."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 200  # items that are applied together
RETRY_SECONDS = 1.0  # after a database that did not answer
LONGEST = 5_000  # past that, what waits is replaced by what `shorten` makes of it


class Inbox(Generic[T]):
    """Safe to put into from any thread; `put` never waits.

    Args:
        apply: called on the pool with items in their order, never twice at a time. It raises Interrupted when the database fails.
        may_apply: asked before each batch; while it says no, items wait.
        shorten: what to keep of a list that has grown too long.
    """

    def __init__(
        self,
        pool: Executor,
        apply: Callable[[Sequence[T]], None],
        may_apply: Callable[[], bool] = lambda: True,
        shorten: Callable[[Sequence[T]], Sequence[T]] = lambda items: items,
    ) -> None:
        self._pool, self._apply, self._may_apply, self._shorten = pool, apply, may_apply, shorten
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._working = self._closed = False
        self._not_before = 0.0

    def put(self, item: T) -> None:
        with self._lock:
            if not self._closed:
                self._items.append(item)
                self._start()

    def poke(self) -> None:
        """Goes on with what had to wait. Called now and then by the owner."""
        with self._lock:
            self._start()

    def close(self) -> None:
        """Forgets what waits; what comes later is dropped."""
        with self._lock:
            self._closed = True
            self._items.clear()

    def __len__(self) -> int:
        return len(self._items)

    def _ready(self) -> bool:
        return bool(self._items) and time.monotonic() >= self._not_before and self._may_apply()

    def _start(self) -> None:
        if not self._working and not self._closed and self._ready():
            self._working = True
            self._pool.submit(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._ready():
                    self._working = False
                    return
                if len(self._items) > LONGEST:
                    self._items = deque(self._shorten(tuple(self._items)))
                batch = [self._items.popleft() for _ in range(min(BATCH, len(self._items)))]
            self._try(batch)

    def _try(self, batch: list[T]) -> None:
        close_old_connections()
        try:
            self._apply(batch)
        except Interrupted as interrupted:
            log.warning("the database is away: %s", interrupted.__cause__)
            with self._lock:
                if not self._closed:
                    self._items.extendleft(reversed(batch[interrupted.done :]))
                self._not_before = time.monotonic() + RETRY_SECONDS
        except Exception:
            log.exception("what was heard of a host could not be applied")
        finally:
            close_old_connections()


class Interrupted(Exception):
    """The database failed in the middle of a batch; `done` items of it are dealt with."""

    def __init__(self, done: int) -> None:
        super().__init__(done)
        self.done = done


# What a database says that is away, restarting, or locked for too long.
AWAY = (OperationalError, InterfaceError)
