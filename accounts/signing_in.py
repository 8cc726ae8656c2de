"""From a right password to a session: at once, or by way of the second factor."""

import time
from typing import Any

from django.contrib.auth import login, logout
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.factors.services import has_factor
from accounts.models import User
from events.log import record

PENDING = "second_factor_of"
MINUTES = 5


def begin(request: HttpRequest, user: Any) -> bool:
    """The password, or the provider's word, is good. True: signed in; False: the second factor is asked for first."""
    if not has_factor(user):
        complete(request, user)
        return True
    request.session.cycle_key()
    request.session[PENDING] = {"user": str(user.pk), "backend": user.backend, "hash": user.get_session_auth_hash(), "at": time.time()}
    return False


def pending_user(request: HttpRequest) -> User | None:
    """Whose second factor is awaited. Not for long, and not after their password has changed."""
    known = request.session.get(PENDING)
    if not known or not 0 <= time.time() - known["at"] < MINUTES * 60:
        return None
    user = User.objects.filter(pk=known["user"], is_active=True).first()
    if user is None or not constant_time_compare(known["hash"], user.get_session_auth_hash()):
        return None
    user.backend = known["backend"]
    return user


def complete(request: HttpRequest, user: Any, by: str = "") -> None:
    """Signs in under a new session: nothing that somebody put into the one before comes along. `by`: which second factor, for the log."""
    logout(request)
    login(request, user)
    record("session.opened", f"{user} signed in{by}", obj=user, user=user, request=request)
