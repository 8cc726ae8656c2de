"""Keeping one's own SSH keys: what is a key, and what is not."""

import base64
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django.db import IntegrityError, transaction

from accounts.keys.models import UserKey
from accounts.models import User
from events.log import record
from portal.errors import FieldError
from portal.names import valid_name

LONGEST = 16_000
MOST = 50
SMALLEST_RSA = 2048
KINDS = frozenset({"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"})


def parse(text: str) -> tuple[str, str, str]:
    """From what was pasted to (`kind base64`, its comment, its fingerprint as ssh-keygen shows it).

    Raises:
        FieldError: it is no public key, or a weak one.
    """
    if "PRIVATE KEY" in text:
        raise FieldError("public_key", "This is a private key: keep it to yourself. Paste the file that ends in .pub.")
    words = text.strip().split(None, 2)
    if len(text) > LONGEST or len(words) < 2 or "\n" in text.strip() or words[0] not in KINDS:
        raise FieldError("public_key", "This is no public SSH key; it begins with ssh-ed25519, ssh-rsa or ecdsa-sha2, on one line.")
    line = f"{words[0]} {words[1]}"
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise FieldError("public_key", "This key is damaged: copy the whole line again.") from None
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA:
        raise FieldError("public_key", f"An RSA key has at least {SMALLEST_RSA} bits; this one has {key.key_size}.")
    digest = hashlib.sha256(base64.b64decode(words[1])).digest()
    return line, words[2] if len(words) > 2 else "", f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def add(user: User, text: str, name: str = "") -> UserKey:
    """Keeps one of the user's own keys; its comment is its name when they give none."""
    line, comment, fingerprint = parse(text)
    name = valid_name((name or comment or "my key")[:150])
    if user.ssh_keys.count() >= MOST:
        raise FieldError("public_key", f"At most {MOST} keys are kept.")
    try:
        with transaction.atomic():
            key = UserKey.objects.create(user=user, name=name, public_key=line, fingerprint=fingerprint)
    except IntegrityError:
        raise FieldError("public_key", "This key is kept already.") from None
    record("user.key_added", f"SSH key {name} was added", obj=user, user=user, details={"fingerprint": fingerprint})
    return key


def remove(user: User, key: UserKey) -> None:
    """Machines that have the key already keep it."""
    record("user.key_removed", f"SSH key {key.name} was removed", obj=user, user=user, details={"fingerprint": key.fingerprint})
    key.delete()
