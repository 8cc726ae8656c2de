"""Makes a request, or a socket, that of the user who is looked as: reading alone, and no consoles."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from accounts import looking

SAFE_METHODS = ("GET", "HEAD")
# Where one may look around; everything else, one's account and its secrets above all, is closed meanwhile.
OPEN_NAMESPACES = frozenset({"portal", "selfservice", "vms", "hosts", "storage", "networks", "jobs", "events", "metrics"})
CLOSED_VIEWS = frozenset({"vms:console", "vms:console-state", "vms:console-ticket", "vms:thumbnail", "events:notification-settings", "storage:download", "vms:ova"})


def as_oneself(view: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a view that is the viewer's own even while they look as another: ending it, signing out."""
    view.is_as_oneself = True  # type: ignore[attr-defined]
    return view


class LookAs:
    """The last middleware: those before it judge the viewer, only the view sees the other user.

    `request.viewer` is who really asks, while somebody looks as another.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if looking.SESSION_KEY not in request.session or getattr(view, "is_as_oneself", False):
            return None
        viewer = request.user
        target = looking.viewed(viewer, request.session)
        if target is None:
            looking.end(viewer, request)  # type: ignore[arg-type]  # it lasted too long, or is no longer allowed
            return None
        request.user, request.viewer = target, viewer  # type: ignore[attr-defined]
        return None if _may_look(request) else _refuse(request)


def _may_look(request: HttpRequest) -> bool:
    match = request.resolver_match
    if request.method not in SAFE_METHODS or match is None:
        return False
    return match.namespace in OPEN_NAMESPACES and match.view_name not in CLOSED_VIEWS


def _refuse(request: HttpRequest) -> HttpResponse:
    text = f"You look at the portal as {request.user}: nothing can be changed, and no console opened. End it first."
    request.refusal = PermissionDenied(text)  # type: ignore[attr-defined]  # for the audit log
    if request.headers.get("HX-Request") or request.path.startswith("/api/"):
        return JsonResponse({"message": text, "kind": "error"}, status=403)
    return render(request, "pages/error.html", {"icon": "eye", "title": "Only to look at", "text": text}, status=403)


class LookAsSocket:
    """The same for WebSockets: topics are those of the user who is looked as. A console's ticket is another's, so none opens."""

    def __init__(self, application: Callable[..., Awaitable[Any]]) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        target = await viewed_in(scope)
        if target is not None:
            scope = {**scope, "user": target, "viewer": scope["user"]}
        return await self.application(scope, receive, send)


@database_sync_to_async
def viewed_in(scope: dict[str, Any]) -> Any:
    """Whom the socket's session looks as now, by its stored row: it may have changed since the socket was opened."""
    session, viewer = scope.get("session"), scope.get("viewer") or scope.get("user")
    if session is None or viewer is None or not session.session_key:
        return None
    return looking.viewed(viewer, import_module(settings.SESSION_ENGINE).SessionStore(session.session_key))
