"""What may be written down of a value: plain JSON, no secret, on one line.

An entry is never removed on request, so whatever looks like a secret stays out, even where it is none.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

HIDDEN = "•••"
LONGEST_TEXT = 2000
LONGEST_INPUT = 100_000
MOST_ITEMS = 200
DEEPEST = 5

_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|key|ticket|credential|cookie|authori[sz]ation|(?<![a-z])t?otp|recovery|private|session", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"vireo_[\w-]{16,}"  # an API token
    r"|-----BEGIN [^-]*PRIVATE KEY-----.*?(?:-----END [^-]*-----|\Z)"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password in a URL
    r"|(?<=Bearer )\S+",
    re.DOTALL,
)
# Line ends and what else moves a terminal's cursor or turns the direction of writing; also what UTF-8 cannot carry.
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_secret(name: str) -> bool:
    """True when what stands under this name is not to be written down."""
    return _SECRET_NAME.search(name) is not None


def text(value: Any, longest: int = LONGEST_TEXT) -> str:
    """One line without control characters and without anything that has the form of a secret."""
    found = _SECRET_TEXT.sub(HIDDEN, str(value)[:LONGEST_INPUT])
    line = "".join(_escaped(letter) if unicodedata.category(letter) in _UNFIT else letter for letter in found)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON that every database gives back as it was written; what stands under a secret's name is hidden."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if depth >= DEEPEST and isinstance(value, Mapping | list | tuple | set | frozenset):
        return "…"
    if isinstance(value, Mapping):
        items = list(value.items())[:MOST_ITEMS]
        return {
            text(name, 200): HIDDEN if is_secret(str(name)) and found not in (None, "") else plain(found, depth + 1)
            for name, found in items
        }
    if isinstance(value, list | tuple):
        return [plain(each, depth + 1) for each in value[:MOST_ITEMS]]
    if isinstance(value, set | frozenset):
        return sorted((plain(each, depth + 1) for each in value), key=str)[:MOST_ITEMS]
    return text(value)
