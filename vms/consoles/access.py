"""Who may be in a console: what the database says, at the beginning and again whenever grants change."""

from typing import Any

from accounts.models import User
from accounts.permissions import allowed
from accounts.sessions import services as sessions
from events.log import record
from vms.consoles.tickets import Pass, redeem
from vms.models import VM

NAMES = {"vnc": "screen", "serial": "serial console"}


def admit(ticket: str, user: User, session_key: str, vm_id: Any, kind: str) -> tuple[VM, Pass] | None:
    """The VM and what the ticket allows; None when the ticket is not good, or no longer backed by a grant."""
    good = redeem(ticket, user, session_key, vm_id, kind)
    if good is None or not still_allowed(user.pk, session_key, vm_id):
        return None
    vm = VM.objects.select_related("host", "cluster").filter(pk=vm_id).first()
    return (vm, good) if vm else None


def still_allowed(user_id: Any, session_key: str, vm_id: Any) -> bool:
    """True while the session lives, its user is active, and holds vm.console on the VM."""
    user = sessions.user_of(session_key)
    if user is None or user.pk != user_id:
        return False
    sessions.used(session_key)
    vm = VM.objects.select_related("cluster").filter(pk=vm_id).first()
    return vm is not None and allowed(user, "vm.console", vm)


def note_opened(vm: VM, user: User, kind: str, address: str, view_only: bool, took_over_from: list[str]) -> None:
    """The audit event of a console that was opened."""
    how = " to look on" if view_only else f", taking over from {', '.join(took_over_from)}" if took_over_from else ""
    record(
        "console.opened",
        f"{user} opened the {NAMES[kind]} of {vm}{how}",
        obj=vm,
        user=user,
        details={"console": kind, "view_only": view_only, "address": address, "took_over_from": took_over_from},
    )


def note_closed(vm: VM, user: User, kind: str, seconds: float, why: str) -> None:
    """The audit event of a console that was closed."""
    record(
        "console.closed",
        f"{user} left the {NAMES[kind]} of {vm}",
        obj=vm,
        user=user,
        details={"console": kind, "seconds": round(seconds), "why": why},
    )
