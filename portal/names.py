"""One rule for the names that people give to objects."""

import unicodedata

from portal.errors import FieldError

LONGEST = 255


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
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in text):
        raise FieldError(field, "A name has no line ends and no invisible characters.")
    return text
