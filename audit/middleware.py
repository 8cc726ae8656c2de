"""Tells the audit log who asks and from where, and leaves an entry of every request that was refused, or whose change failed."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch
from redis.exceptions import RedisError

from accounts.objects import names_of
from audit import circumstances, log
from audit.models import Outcome

logger = logging.getLogger(__name__)

_READING = ("GET", "HEAD", "OPTIONS")
# What a page fetches by itself, again and again: nobody's attempt.
_BY_ITSELF = frozenset({"vms:thumbnail", "vms:console-state"})
# Whoever is not signed in costs nothing to send requests: of theirs, one entry per address and view in a minute.
_STRANGER_SECONDS = 60
# What an id in an address is the id of.
_TYPES = {
    "vms/": "vm",
    "my/vms/": "vm",
    "templates/": "template",
    "hosts/": "host",
    "clusters/": "cluster",
    "data-centers/": "data_center",
    "storage/": "storage_domain",
    "disks/": "disk",
    "networks/": "network",
    "jobs/": "job",
    "users/": "user",
    "groups/": "group",
    "roles/": "role",
    "quotas/": "quota",
}
_FAILED = (409, 422)
_WORDS = {
    401: "The API token is not good, or has expired.",
    403: "This was not permitted.",
    404: "There is no such object, or it is not theirs to see.",
    409: "This was not possible.",
    422: "What was sent was not valid, or named what is not theirs to use.",
    429: "Too many attempts: they have to wait.",
}


class AuditTrail:
    """Stands behind the middleware that knows the user, so that it sees every answer of what follows."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with circumstances.acting(circumstances.of_request(request)):
            response = self.get_response(request)
            if _is_worth_an_entry(request, response.status_code):
                _note(request, response.status_code)
            return response

    def process_exception(self, request: HttpRequest, error: Exception) -> None:
        if isinstance(error, PermissionDenied):
            request.refusal = error  # type: ignore[attr-defined]


def _is_worth_an_entry(request: HttpRequest, status: int) -> bool:
    """What is refused always is; that nothing was found, possible or valid, only where a user wanted to change something."""
    match = request.resolver_match
    if match is None or match.view_name in _BY_ITSELF:
        return False
    if status in (404, *_FAILED):
        return request.method not in _READING and request.user.is_authenticated
    if status == 401:
        return "Authorization" in request.headers
    return status in (403, 429)


def _note(request: HttpRequest, status: int) -> None:
    match = request.resolver_match
    assert match is not None
    if not request.user.is_authenticated and not _first_of(request, match.view_name):
        return
    error = getattr(request, "refusal", None) or PermissionDenied(_WORDS[status])
    details = {"method": request.method, "route": match.route, "status": status, **match.kwargs}
    outcome = Outcome.FAILED if status in _FAILED else Outcome.REFUSED
    try:
        log.refused(error, action=match.view_name.replace(":", "."), target=_target(match), details=details, outcome=outcome)
    except DatabaseError:  # the refusal stands all the same
        logger.exception("a refused attempt could not be written into the audit log: %s %s", request.method, match.route)


def _target(match: ResolverMatch) -> tuple[str, Any, str] | None:
    """What the address names; its name too where it is an object of the inventory."""
    key = next((key for value in match.kwargs.values() if (key := _as_id(value))), None)
    object_type = next((found for start, found in _TYPES.items() if match.route.removeprefix("api/v1/").startswith(start)), "")
    if key is None or not object_type:
        return None
    return object_type, key, names_of({(object_type, key)}).get((object_type, key), "")


def _as_id(value: Any) -> UUID | None:
    """Pages get ids as such, the API as texts."""
    try:
        return UUID(str(value))
    except ValueError:
        return None


def _first_of(request: HttpRequest, view: str) -> bool:
    try:
        return bool(cache.add(f"audit-stranger:{request.META.get('REMOTE_ADDR', '')}:{view}", 1, _STRANGER_SECONDS))
    except (RedisError, OSError):
        return True


class AuditSocket:
    """The same for what comes by a WebSocket. Innermost, so that whoever looks as another is known."""

    def __init__(self, application: Callable[..., Awaitable[Any]]) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        with circumstances.acting(circumstances.of_socket(scope)):
            return await self.application(scope, receive, send)
