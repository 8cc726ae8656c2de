"""A session goes on only while its row says so: ended ones are signed out at their next request."""

from collections.abc import Callable

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from accounts.sessions import services
from accounts.sessions.models import UserSession


class KeepSession:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.user_session = row = self._standing(request)  # type: ignore[attr-defined]
        response = self.get_response(request)
        if row is not None and request.session.get(services.ID) == str(row.pk) and request.session.session_key != row.session_key:
            # Changing one's password gives the session another key.
            UserSession.objects.filter(pk=row.pk).update(session_key=request.session.session_key)
        return response

    @staticmethod
    def _standing(request: HttpRequest) -> UserSession | None:
        if not request.user.is_authenticated:
            return None
        row = services.standing(request.session)
        if row is None:
            logout(request)
        elif not request.headers.get("X-Live"):  # a page that keeps itself up to date is not a person at work
            services.seen(row, request.META.get("REMOTE_ADDR") or None)
        return row
