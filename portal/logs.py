"""Log lines: one entry is one line, whatever a name or an address has in it."""

import logging
from typing import Any

# What ends a line, moves the cursor, or turns the text around in a terminal or a log viewer.
_ESCAPED = {code: f"\\x{code:02x}" for code in [*range(0x20), *range(0x7F, 0xA0)]} | {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
}


class OneLine(logging.Formatter):
    """Escapes control characters in the message; a traceback keeps its lines, indented, so that none passes for an entry."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return super().formatMessage(record).translate(_ESCAPED)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join("    " + line.translate(_ESCAPED) for line in super().formatException(ei).splitlines())
