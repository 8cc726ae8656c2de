"""Keeps a viewer from acting: of what the browser sends to a display, only what asks for pictures goes through."""

import struct

SET_PIXEL_FORMAT, SET_ENCODINGS, UPDATE_REQUEST, KEY, POINTER, CUT_TEXT = 0, 2, 3, 4, 5, 6
CONTINUOUS_UPDATES, FENCE, XVP, SET_DESKTOP_SIZE, QEMU = 150, 248, 250, 251, 255
MAX_MESSAGE = 1 << 20

_FIXED = {SET_PIXEL_FORMAT: 20, UPDATE_REQUEST: 10, KEY: 8, POINTER: 6, CONTINUOUS_UPDATES: 10, XVP: 4}
_HARMLESS = {SET_PIXEL_FORMAT, SET_ENCODINGS, UPDATE_REQUEST, CONTINUOUS_UPDATES, FENCE}


class UnknownMessage(Exception):
    """The browser sent what no RFB client of ours sends; where it ends cannot be known."""


class ViewOnlyFilter:
    """Takes the browser's bytes in any portions; gives back those that a viewer may send."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Raises UnknownMessage."""
        data = self._rest + data
        passed, at = [], 0
        while at < len(data):
            length = _length(data, at)
            if length is None or at + length > len(data):
                break
            if data[at] in _HARMLESS:
                passed.append(data[at : at + length])
            at += length
        self._rest = data[at:]
        return b"".join(passed)


def _length(data: bytes, at: int) -> int | None:
    """How long the message that begins there is; None while that is not yet known."""
    kind = data[at]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind == SET_ENCODINGS:
        return _with_count(data, at, "!H", 2, 4, 4)
    if kind == CUT_TEXT:
        return _cut_text(data, at)
    if kind == FENCE:
        return _with_count(data, at, "!B", 8, 9, 1)
    if kind == SET_DESKTOP_SIZE:
        return _with_count(data, at, "!B", 6, 8, 16)
    if kind == QEMU and (len(data) < at + 2 or data[at + 1] == 0):
        return 12 if len(data) >= at + 2 else None
    raise UnknownMessage(f"message {kind}")


def _with_count(data: bytes, at: int, form: str, offset: int, head: int, each: int) -> int | None:
    if len(data) < at + head:
        return None
    return head + each * struct.unpack_from(form, data, at + offset)[0]


def _cut_text(data: bytes, at: int) -> int | None:
    if len(data) < at + 8:
        return None
    length = abs(struct.unpack_from("!i", data, at + 4)[0])  # the extended clipboard's is negative
    if length > MAX_MESSAGE:
        raise UnknownMessage("a clipboard beyond 1 MiB")
    return 8 + length
