"""One rule for the names that people give to objects."""

import re
import unicodedata

from portal.errors import FieldError

LONGEST = 255
LONGEST_TEXT = 4000
# What neither XML 1.0 nor PostgreSQL takes: control characters, halves of surrogate pairs, and two that are none.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")


def plain(text: str) -> str:
    """What a guest or a directory calls something, without the characters that cannot be seen: never refused, only cleaned."""
    return "".join(character for character in _UNWRITABLE.sub("", text) if unicodedata.category(character) not in _UNSEEN).strip()


def valid_name(text: str, field: str = "name") -> str:
    """The name without space around it.

    Raises:
        FieldError: empty, too long, or with characters that cannot be seen (line ends, control characters).
    """
    text = unicodedata.normalize("NFC", text).strip()
    if not text:
        raise FieldError(field, "Give a name.")
    if len(text) > LONGEST:
        raise FieldError(field, f"A name has at most {LONGEST} characters.")
    if _UNWRITABLE.search(text) or any(unicodedata.category(character) in _UNSEEN for character in text):
        raise FieldError(field, "A name has no line ends and no invisible characters.")
    return text


def valid_text(text: str, field: str = "description") -> str:
    """A longer text as it may be stored, and written into a domain's XML.

    Raises:
        FieldError: too long, or with control characters other than line ends and tabs.
    """
    if len(text) > LONGEST_TEXT:
        raise FieldError(field, f"At most {LONGEST_TEXT} characters.")
    if _UNWRITABLE.search(text):
        raise FieldError(field, "This text has control characters in it.")
    return text
