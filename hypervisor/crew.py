"""A few threads that may be left behind: concurrent.futures would wait for a stuck one when the process ends."""

import threading
from collections import deque
from collections.abc import Callable

IDLE_SECONDS = 30.0


class Crew:
    """Runs tasks on at most `size` daemon threads, which start when needed and go after half a minute without work.

    Args:
        name: prefix of the threads' names.
        size: how many tasks may run (or hang) at the same time; more wait their turn.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._tasks: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._threads = 0
        self._idle = 0

    def submit(self, task: Callable[[], None]) -> None:
        """Queue a task; it must not raise."""
        with self._wake:
            self._tasks.append(task)
            if self._idle >= len(self._tasks):
                self._wake.notify()
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            if not self._tasks:
                self._idle += 1
                self._wake.wait_for(lambda: bool(self._tasks), IDLE_SECONDS)
                self._idle -= 1
            if self._tasks:
                return self._tasks.popleft()
            self._threads -= 1
            return None

    def _work(self) -> None:
        while (task := self._next()) is not None:
            task()
            del task  # an idle thread keeps nothing alive
