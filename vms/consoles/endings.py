"""Why a console ends or is refused: the close code of its WebSocket, a word for the page, and a sentence for the person."""

from enum import IntEnum
from typing import Any


class Close(IntEnum):
    """Close codes of a console's WebSocket; those above 4000 are ours."""

    LEFT = 1000
    BAD_MESSAGE = 4400
    TICKET = 4401
    FORBIDDEN = 4403
    NOTHING_TO_SHOW = 4404
    BUSY = 4409
    ENDED = 4410
    FULL = 4429
    AWAY = 4503


class Ending(Exception):
    """Ends a console.

    Args:
        word: for the page's script: "ticket", "forbidden", "down", "busy", "taken", "full", "ended", "unreachable", "left", "bad".
        reason: one sentence; never a secret.
        retry: trying again by itself makes sense.
        facts: more plain values for the page.
    """

    def __init__(self, code: Close, word: str, reason: str, *, retry: bool = False, facts: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.word = word
        self.reason = reason
        self.retry = retry
        self.facts = facts or {}


def left() -> Ending:
    return Ending(Close.LEFT, "left", "The browser left.")


def forbidden() -> Ending:
    return Ending(Close.FORBIDDEN, "forbidden", "You may no longer use this console: the permission was withdrawn, or you signed out.")
