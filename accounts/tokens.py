"""API tokens: made once, shown once, kept as a digest."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.models import Token, User
from accounts.permissions import ALL_PERMISSIONS

PREFIX = "vireo_"
_READ = frozenset(permission for permission in ALL_PERMISSIONS if permission.endswith(".view"))
_OPERATE = _READ | {f"vm.{verb}" for verb in ("start", "stop", "reboot", "pause", "console")}
_MANAGE = _OPERATE | {name for name in ALL_PERMISSIONS if name.split(".")[0] in ("vm", "disk") or name.endswith(".use")}
# Name -> (what it says on a page, what a token keeps of what its user holds; None: all of it).
SCOPES: dict[str, tuple[str, frozenset[str] | None]] = {
    "read": ("read: sees what you see", _READ),
    "operate": ("operate: starts, stops and opens VMs too", _OPERATE),
    "manage": ("manage VMs: makes, changes and removes VMs and disks too", _MANAGE),
    "all": ("all that you may do", None),
}
# Writing `last_used_at` at every call would make each read a write.
LAST_USED_RESOLUTION = timedelta(minutes=1)


def digest_of(text: str) -> str:
    """The stored form. A token has 256 random bits, so a fast digest is safe."""
    return hashlib.sha256(text.encode()).hexdigest()


def create(user: User, name: str, expires_at: datetime | None = None, scope: str = "all") -> tuple[Token, str]:
    """A new token and its text, which nobody can read again. Raises KeyError for a scope that does not exist."""
    SCOPES[scope]
    text = PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(user=user, name=name, digest=digest_of(text), hint=text[:12], expires_at=expires_at, scope=scope)
    return token, text


def user_of(text: str) -> User | None:
    """The active user of a token that is known and has not expired, narrowed to the token's scope."""
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
    user = token.user
    user.scope = SCOPES[token.scope][1] if token.scope in SCOPES else frozenset()
    return user
