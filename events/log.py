"""Writing the event log, and by it the audit log."""

from typing import Any

from django.http import HttpRequest

from audit import kinds
from audit.log import Change
from events.models import Event, Severity
from events.notify.topics import topics_of
from portal.live import publish


def record(
    kind: str,
    message: str,
    *,
    obj: Any = None,
    severity: str = Severity.INFO,
    user: Any = None,
    job: Any = None,
    request: HttpRequest | None = None,
    details: dict[str, Any] | None = None,
    change: Change | None = None,
) -> Event:
    """Adds one event and tells open browsers.

    Args:
        kind: `<object type>.<what happened>`, e.g. "vm.started".
        obj: what it happened to; None is the system.
        details: plain values, never a secret.
        change: what differs before and after, for the audit log (audit.log.changes).
    """
    event = Event(
        kind=kind,
        message=message,
        severity=severity,
        object_type=obj.OBJECT_TYPE if obj is not None else "system",
        object_id=obj.pk if obj is not None else None,
        object_name=str(obj)[:255] if obj is not None else "",
        user=user,
        user_name=str(user) if user is not None else "",
        job=job,
        address=request.META.get("REMOTE_ADDR") or None if request is not None else None,
        details=details or {},
    )
    event.to_tell = bool(topics_of(event))
    event.save(force_insert=True)
    kinds.from_event(kind, message, obj=obj, user=user, job=job, severity=severity, details=details or {}, change=change)
    publish("event", event.pk, "added")
    return event
