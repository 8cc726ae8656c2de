"""Secrets at rest: one key in a file outside the database, and encryption of short values with it."""

import base64
import hashlib
import os
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken


def load_or_create_key(path: Path) -> str:
    """The installation's key, made on first use, readable by the owner alone.

    Two processes may start together: the file appears by an atomic link, so both read the same key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


@lru_cache(maxsize=1)
def _fernet() -> Fernet:
    from django.conf import settings

    digest = hashlib.sha256(b"vireo stored secrets:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))


def encrypt(value: str) -> str:
    """The value as an opaque text for a database column; empty stays empty."""
    return _fernet().encrypt(value.encode()).decode() if value else ""


def decrypt(stored: str) -> str:
    """What `encrypt` was given. Raises ValueError when the key is not the one that encrypted it."""
    if not stored:
        return ""
    try:
        return _fernet().decrypt(stored.encode()).decode()
    except InvalidToken:
        raise ValueError("a stored secret was encrypted with another key than var/secret.key") from None
