"""Single-use tickets: who asked for a console by a POST may open it once, from the same session, within half a minute."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from accounts.models import User
from vms.models import VM, ConsoleTicket

LIFETIME = timedelta(seconds=30)


@dataclass(frozen=True)
class Pass:
    """What a redeemed ticket allows."""

    view_only: bool
    take_over: bool


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def issue(user: User, session_key: str, vm: VM, kind: str, *, view_only: bool = False, take_over: bool = False) -> str:
    """A new ticket's text. Only digests are stored, of the ticket and of the session."""
    now = timezone.now()
    ConsoleTicket.objects.filter(expires_at__lt=now).delete()
    text = secrets.token_urlsafe(32)
    ConsoleTicket.objects.create(
        digest=_digest(text),
        user=user,
        session_key=_digest(session_key),
        vm=vm,
        kind=kind,
        view_only=view_only,
        take_over=take_over,
        expires_at=now + LIFETIME,
    )
    return text


def redeem(text: str, user: User, session_key: str, vm_id: object, kind: str) -> Pass | None:
    """What the ticket allows, or None: unknown, used, expired, or another's. Whoever shows a ticket, it is spent."""
    ticket = ConsoleTicket.objects.filter(digest=_digest(text)).first()
    if ticket is None or not ConsoleTicket.objects.filter(pk=ticket.pk).delete()[0]:
        return None  # of two who show it at once, the row goes to one
    fits = (
        ticket.expires_at > timezone.now()
        and ticket.user_id == user.pk
        and secrets.compare_digest(ticket.session_key, _digest(session_key))
        and str(ticket.vm_id) == str(vm_id)
        and ticket.kind == kind
    )
    return Pass(ticket.view_only, ticket.take_over) if fits else None
