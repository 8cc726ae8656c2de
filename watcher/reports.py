"""When to ask a guest's agent for everything: soon after it first answers, and then rarely, for most of it seldom changes."""

import time
from collections.abc import Collection

EVERY_SECONDS = 600.0
AGAIN_SECONDS = 20.0  # once more after the first: by then it has its addresses, and somebody may have signed in


class Reports:
    """Of one host's guests; asked and told on its crew's one agent thread."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._asked: dict[str, int] = {}

    def is_due(self, uuid: str) -> bool:
        return self._due.get(uuid, 0.0) <= time.monotonic()

    def asked(self, uuid: str) -> None:
        times = self._asked[uuid] = self._asked.get(uuid, 0) + 1
        self._due[uuid] = time.monotonic() + (AGAIN_SECONDS if times == 1 else EVERY_SECONDS)

    def running(self, uuids: Collection[str]) -> None:
        """Forgets the guests that have ended."""
        for uuid in list(self._due):
            if uuid not in uuids:
                self._due.pop(uuid, None)
                self._asked.pop(uuid, None)
