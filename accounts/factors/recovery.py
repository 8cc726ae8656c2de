"""Recovery codes: ten at a time, shown once, each good for one sign-in."""

import hashlib
import secrets

from django.db import transaction

from accounts.factors.models import RecoveryCode
from accounts.models import User

COUNT = 10
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is mistaken for another


def _digest(user: User, code: str) -> str:
    # 79 random bits need no slow digest; the user's id makes equal codes of two users differ.
    plain = "".join(letter for letter in code.lower() if letter.isalnum())
    return hashlib.sha256(f"{user.pk}:{plain}".encode()).hexdigest()


def make(user: User) -> list[str]:
    """New codes; the old ones are worth nothing from now on."""
    raw = ["".join(secrets.choice(_LETTERS) for _ in range(16)) for _ in range(COUNT)]
    codes = ["-".join(text[at : at + 4] for at in range(0, 16, 4)) for text in raw]
    with transaction.atomic():
        RecoveryCode.objects.filter(user=user).delete()
        RecoveryCode.objects.bulk_create([RecoveryCode(user=user, digest=_digest(user, code)) for code in codes])
    return codes


def accept(user: User, code: str) -> bool:
    """Spends the code: of two who show it at once, the row goes to one."""
    return bool(RecoveryCode.objects.filter(user=user, digest=_digest(user, code)).delete()[0])
