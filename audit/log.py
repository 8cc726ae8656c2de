"""Writing the audit log. Nearly everything comes by way of events.log.record; few things that are no event come directly."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit import chain, circumstances
from audit.models import Entry, Outcome, Waiting
from audit.redact import plain, text

_LENGTHS = {column.name: column.max_length for column in Entry._meta.concrete_fields}


@dataclass(frozen=True)
class Change:
    """What differs: field -> value, before and after."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


def changes(before: dict[str, Any], after: dict[str, Any]) -> Change:
    """Those of the values that differ; one that is on one side alone came, or went."""
    names = [name for name in {**before, **after} if (name in before) != (name in after) or before[name] != after[name]]
    return Change({name: before[name] for name in names if name in before}, {name: after[name] for name in names if name in after})


def snapshot(obj: Any, *names: str) -> dict[str, Any]:
    """The values of some fields now, for `changes`."""
    return {name: getattr(obj, name) for name in names}


def stored(obj: Any, *names: str) -> dict[str, Any]:
    """The same as the database has them, while `obj` may be changed already; empty for an object that is new."""
    return type(obj)._default_manager.filter(pk=obj.pk).values(*names).first() or {}


def append(
    action: str,
    message: str = "",
    *,
    obj: Any = None,
    target: tuple[str, Any, str] | None = None,
    user: Any = None,
    outcome: str = Outcome.DONE,
    change: Change | None = None,
    details: dict[str, Any] | None = None,
    job_id: Any = "",
) -> None:
    """Writes one entry, in the transaction of the caller; it is sealed into the chain when that commits (see audit.chain).

    Args:
        action: `<object type>.<verb>`, e.g. "vm.start".
        target: type, id and name of an object that is not at hand as `obj`.
        user: who asked, where that is not the request's user. Whoever looks as another is named beside them.
    """
    here = circumstances.current()
    asker, viewer = user or here.user, here.viewer
    actor, whom = (viewer, asker) if viewer is not None and asker != viewer else (asker, None)
    if obj is not None:
        target = (obj.OBJECT_TYPE, obj.pk, str(obj))
    object_type, object_id, object_name = target or ("", "", "")
    change = change or Change()
    fields = {
        "at": timezone.now().isoformat(),
        "actor_id": _id(actor),
        "actor_name": str(actor or ""),
        "as_whom_id": _id(whom),
        "as_whom": str(whom or ""),
        "action": action,
        "object_type": object_type,
        "object_id": str(object_id or ""),
        "object_name": object_name,
        "address": _address(here.address),
        "channel": str(here.channel),
        "token": getattr(actor, "token_name", ""),
        "job_id": str(job_id or here.job_id or ""),
        "outcome": str(outcome),
        "message": message,
        "before": plain(change.before),
        "after": plain(change.after),
        "details": plain(details or {}),
    }
    Waiting.objects.create(fields={name: _fit(name, value) for name, value in fields.items()})
    # Robust: what cannot be sealed now, for the database is busy, is sealed with the next.
    transaction.on_commit(chain.seal, robust=True)


def refused(error: Exception, **more: Any) -> None:
    """An attempt that was not allowed, or did not succeed. An error of `accounts.permissions.require` says what was tried, and on what."""
    if permission := getattr(error, "permission", ""):
        more |= {"action": permission, "obj": error.obj}  # type: ignore[attr-defined]
    words = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
    append(**{"message": words, "outcome": Outcome.REFUSED, **more})


def _id(user: Any) -> str:
    return str(user.pk) if user is not None and user.pk else ""


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        return ""  # a Unix socket has none


def _fit(name: str, value: Any) -> Any:
    """A text as its column takes it."""
    if not isinstance(value, str) or name == "at":
        return value
    return text(value, _LENGTHS[name] or 4000)
