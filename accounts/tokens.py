"""API tokens: made once, shown once, kept as a digest."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.models import Token, User

PREFIX = "vireo_"
# Writing `last_used_at` at every call would make each read a write.
LAST_USED_RESOLUTION = timedelta(minutes=1)


def digest_of(text: str) -> str:
    """The stored form. A token has 256 random bits, so a fast digest is safe."""
    return hashlib.sha256(text.encode()).hexdigest()


def create(user: User, name: str, expires_at: datetime | None = None) -> tuple[Token, str]:
    """A new token and its text, which nobody can read again."""
    text = PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(user=user, name=name, digest=digest_of(text), hint=text[:12], expires_at=expires_at)
    return token, text


def user_of(text: str) -> User | None:
    """The active user of a token that is known and has not expired."""
    now = timezone.now()
    token = (
        Token.objects.select_related("user")
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), digest=digest_of(text), user__is_active=True)
        .first()
    )
    if token is None:
        return None
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_RESOLUTION:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user
