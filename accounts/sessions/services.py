"""Beginning, keeping and ending sessions. What ends takes its open consoles and subscriptions with it, at once."""

from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.factors.rule import lacking
from accounts.models import User
from accounts.permissions import require
from accounts.sessions.models import UserSession
from events.log import record
from portal.live import publish_to

ID = "user_session"  # in Django's session: survives when its key is cycled
# Writing `last_seen_at` at every request would make each read a write.
SEEN_RESOLUTION = timedelta(minutes=1)


def _store(session_key: str) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(session_key)


def begin(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Receives user_logged_in: the session's key is a new one by now."""
    UserSession.objects.filter(pk=request.session.get(ID)).delete()
    if request.session.session_key is None:
        request.session.create()  # another user was signed in here, and the session was emptied
    row = UserSession.objects.create(
        user=user,
        session_key=request.session.session_key,
        user_agent=request.META.get("HTTP_USER_AGENT", "")[:300],
        address=request.META.get("REMOTE_ADDR") or None,
    )
    request.session[ID] = str(row.pk)


def forget(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """Receives user_logged_out, while the session still is."""
    UserSession.objects.filter(pk=request.session.get(ID)).delete()


user_logged_in.connect(begin, dispatch_uid="session-begins")
user_logged_out.connect(forget, dispatch_uid="session-ends")


def standing(session: Any) -> UserSession | None:
    """The row of a session that may go on; None when it was ended, or is over."""
    pk = session.get(ID)
    row = UserSession.objects.annotate(lacks_factor=lacking()).filter(pk=pk).first() if pk else None
    return None if row is None or row.is_over() else row


def user_of(session_key: str) -> User | None:
    """The user of a session that may go on: for what stays open without requests."""
    session = _store(session_key)
    user = get_user(SimpleNamespace(session=session))  # type: ignore[arg-type]
    row = standing(session) if user.is_authenticated else None
    return user if row is not None and not row.lacks_factor else None  # type: ignore[return-value, attr-defined]


def seen(row: UserSession, address: str | None) -> None:
    """Somebody used it."""
    now = timezone.now()
    if now - row.last_seen_at > SEEN_RESOLUTION or row.address != address:
        UserSession.objects.filter(pk=row.pk).update(last_seen_at=now, address=address)


def used(session_key: str) -> None:
    """A console of this session is open: that is use as well."""
    now = timezone.now()
    UserSession.objects.filter(session_key=session_key, last_seen_at__lt=now - SEEN_RESOLUTION).update(last_seen_at=now)


def end(actor: User, row: UserSession) -> None:
    """One's own, or another's with user.manage."""
    if actor.pk != row.user_id:
        require(actor, "user.manage")
    _end(UserSession.objects.filter(pk=row.pk))
    record("session.ended", f"The session of {row.user} on {row.device} was ended", obj=row.user, user=actor)


def end_all(actor: User, user: User, *, keep: UUID | str | None = None) -> int:
    """All sessions of a user but `keep`; says how many."""
    if actor.pk != user.pk:
        require(actor, "user.manage")
    count = _end(UserSession.objects.filter(user=user).exclude(pk=keep) if keep else UserSession.objects.filter(user=user))
    if count:
        record("session.ended", f"{count} sessions of {user} were ended", obj=user, user=actor)
    return count


def _end(rows: QuerySet[UserSession]) -> int:
    found = list(rows)
    for row in found:
        _store(row.session_key).delete()
        row.delete()
    for user_id in {row.user_id for row in found}:
        publish_to(f"user:{user_id}", {"type": "live.recheck"})
    return len(found)


def sweep() -> int:
    """Ends what is over, which nobody has asked for since."""
    now = timezone.now()
    idle, whole = now - timedelta(seconds=settings.SESSION_IDLE_SECONDS), now - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    count = _end(UserSession.objects.filter(last_seen_at__lt=idle)) + _end(UserSession.objects.filter(created_at__lt=whole))
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    return count
