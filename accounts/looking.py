"""Looking at the portal as another user: what they see, nothing of what they may do, and always marked as such.

The session keeps whom one looks as; every request and every socket checks anew that this is still allowed.
"""

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts import objects
from accounts.models import Grant, ObjectType, User
from accounts.permissions import ALL_PERMISSIONS, allowed, effective, require
from events.log import record
from portal.live import publish_to

SESSION_KEY = "look_as"
LONGEST = timedelta(hours=1)


def start(viewer: User, target: User, request: HttpRequest) -> None:
    """Raises PermissionDenied, or ValidationError with the reason why not as this user."""
    require(viewer, "user.manage")
    if reason := why_not(viewer, target):
        raise ValidationError(reason)
    request.session[SESSION_KEY] = {"user": str(target.pk), "since": timezone.now().isoformat()}
    record("user.look_started", f"{viewer} looks at the portal as {target}", obj=target, user=viewer, request=request)


def end(viewer: User, request: HttpRequest) -> User | None:
    """The user that was looked as; None when nobody was."""
    kept = request.session.pop(SESSION_KEY, None)
    if kept is None:
        return None
    target = User.objects.filter(pk=kept["user"]).first()
    record("user.look_ended", f"{viewer} no longer looks as {target or 'a removed user'}", obj=target, user=viewer, request=request)
    publish_to(f"user:{viewer.pk}", {"type": "live.recheck"})  # pages that are still open as the other close their sockets
    return target


def why_not(viewer: User, target: User) -> str:
    """Empty when the viewer may look as this user: one never sees more than one holds oneself."""
    if viewer.pk == target.pk:
        return "This is you."
    if not target.is_active:
        return f"{target} may not sign in, so there is nothing to look at."
    if _holds_more(viewer, target):
        return f"{target} holds permissions that you do not hold: you cannot look as them."
    return ""


def _holds_more(viewer: User, target: User) -> bool:
    everywhere = effective(viewer)
    if everywhere.issuperset(ALL_PERMISSIONS):
        return False
    held: dict[tuple[str, Any], set[str]] = {}
    grants = Grant.objects.filter(Q(user=target) | Q(group__members=target))
    for object_type, object_id, permission in grants.values_list("object_type", "object_id", "role__permissions__permission"):
        if permission is not None and permission not in everywhere:
            held.setdefault((object_type, object_id), set()).add(permission)
    return any(not _covers(viewer, key, permissions) for key, permissions in held.items())


def _covers(viewer: User, key: tuple[str, Any], permissions: set[str]) -> bool:
    object_type, object_id = key
    if object_type == ObjectType.SYSTEM:
        return False
    try:
        return permissions <= effective(viewer, objects.find(object_type, object_id))
    except (KeyError, ObjectDoesNotExist):
        return True  # what is granted on a removed object shows nothing


def viewed(viewer: Any, session: Any) -> User | None:
    """Whom this session looks as, if the viewer still may."""
    kept = session.get(SESSION_KEY) if session is not None and viewer.is_authenticated else None
    if kept is None or timezone.now() - datetime.fromisoformat(kept["since"]) > LONGEST:
        return None
    target = User.objects.filter(pk=kept["user"]).first()
    if target is None or not allowed(viewer, "user.manage") or why_not(viewer, target):
        return None
    return target
