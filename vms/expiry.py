"""The end of a machine that was lent: notice before, shut down at the date, removed after days of grace; prolonging it.

`sweep` runs in every beat of every server: each thing it does is claimed in the database, or locked by its job.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from events.log import record
from jobs.engine import holder_of, submit
from jobs.errors import ObjectBusy
from jobs.models import Job, JobStatus
from portal.errors import FieldError, NotPossible
from portal.live import publish
from vms.lending import notice_from, removal_at
from vms.models import VM, VmStatus
from vms.services import own_disks

log = logging.getLogger(__name__)

# What a shutdown can be asked of, and what it cannot: a paused guest answers nothing.
_ANSWERING = (VmStatus.UP, VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS)
_STUCK = (VmStatus.PAUSED, VmStatus.NOT_RESPONDING)
BATCH = 200
RETRY_AFTER = timedelta(hours=1)


def set_expiry(actor: User, vm: VM, expires_at: datetime | None, now: datetime | None = None) -> VM:
    """An administrator of the VM's cluster sets its end; None: it has none."""
    require(actor, "cluster.edit", vm.cluster)
    if expires_at is not None and expires_at <= (now or timezone.now()):
        raise FieldError("expires_at", "This date has passed. Shut the machine down instead.")
    return _set(actor, vm, expires_at)


def prolong(actor: User, vm: VM, now: datetime | None = None) -> VM:
    """Who may edit the machine keeps it for another term, counted from now.

    Raises:
        PermissionDenied, NotPossible (it has no end, users have no term, or its end is not near yet).
    """
    require(actor, "vm.edit", vm)
    now = now or timezone.now()
    reason = why_not_prolong(vm, now)
    if reason:
        raise NotPossible(reason)
    return _set(actor, vm, now + timedelta(days=settings.PORTAL_VM_DAYS))


def why_not_prolong(vm: VM, now: datetime) -> str:
    """Empty when the machine can be prolonged by its user."""
    if vm.expires_at is None:
        return f"{vm.name} has no end: there is nothing to prolong."
    if not settings.PORTAL_VM_DAYS:
        return f"Only an administrator can prolong {vm.name}."
    if now < notice_from(vm.expires_at):
        return f"{vm.name} can be prolonged from {notice_from(vm.expires_at):%Y-%m-%d} on."
    return ""


def _set(actor: User, vm: VM, expires_at: datetime | None) -> VM:
    with transaction.atomic():
        vm.refresh_from_db(from_queryset=VM.objects.select_for_update())
        busy = holder_of(vm)
        if busy is not None and busy.kind == "vm.remove":
            raise NotPossible(f"{vm.name} is being removed.")
        vm.expires_at, vm.rev = expires_at, vm.rev + 1
        vm.save(update_fields=["expires_at", "rev"])
    until = f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "without an end"
    record("vm.expiry_set", f"{vm.name} is kept {until}", obj=vm, user=actor)
    publish("vm", vm.pk, "changed", vm.rev)
    return vm


def banner(vm: VM, may_edit: bool = False, now: datetime | None = None) -> dict[str, Any] | None:
    """What the machine's page says of its end; None while it is far or there is none."""
    now = now or timezone.now()
    if vm.expires_at is None or now < notice_from(vm.expires_at):
        return None
    return {
        "ended": vm.expires_at <= now,
        "at": vm.expires_at,
        "removal": None if vm.delete_protected else removal_at(vm.expires_at),
        "may_prolong": may_edit and not why_not_prolong(vm, now),
    }


def sweep(now: datetime | None = None) -> None:
    """Gives notice, shuts down and removes what is due at `now`."""
    now = now or timezone.now()
    _give_notice(now)
    _end(now)
    _remove(now)


def _give_notice(now: datetime) -> None:
    soon = VM.objects.filter(expires_at__gt=now, expires_at__lte=now + timedelta(days=settings.EXPIRY_NOTICE_DAYS))
    for vm in soon.filter(Q(expiry_noticed_for=None) | ~Q(expiry_noticed_for=F("expires_at")))[:BATCH]:
        unclaimed = VM.objects.filter(pk=vm.pk, expires_at=vm.expires_at).filter(
            Q(expiry_noticed_for=None) | ~Q(expiry_noticed_for=vm.expires_at)
        )
        if unclaimed.update(expiry_noticed_for=vm.expires_at, rev=F("rev") + 1):
            record("vm.expires_soon", f"The time of {vm.name} ends on {vm.expires_at:%Y-%m-%d %H:%M} UTC", obj=vm, severity="warning")
            publish("vm", vm.pk, "changed", vm.rev + 1)


def _end(now: datetime) -> None:
    """The guest is asked to shut down, and is powered off when it does not; one that cannot be asked is powered off at once."""
    ended = VM.objects.filter(expires_at__lte=now)
    for vm in ended.filter(status__in=(*_ANSWERING, *_STUCK))[:BATCH]:
        kind, params = ("vm.shutdown", {"force": True}) if vm.status in _ANSWERING else ("vm.poweroff", {})
        if _submit(vm, ended, now, kind, f"Shut down {vm.name}: its time ended", params):
            record("vm.expired", f"The time of {vm.name} ended; it is shut down", obj=vm, severity="warning")


def _remove(now: datetime) -> None:
    over = now - timedelta(days=settings.EXPIRY_GRACE_DAYS)
    due = VM.objects.filter(expires_at__lte=over, status=VmStatus.DOWN, delete_protected=False)
    for vm in due[:BATCH]:
        if _submit(vm, due, now, "vm.remove", f"Remove {vm.name}: its time ended", {"keep_disks": False}):
            record("vm.expired_removed", f"{vm.name} is removed: its time and its days of grace ended", obj=vm, severity="warning")


def _submit(vm: VM, due: QuerySet[VM], now: datetime, kind: str, title: str, params: dict[str, Any]) -> bool:
    """False when it was prolonged meanwhile, another job works on it, or the same failed a short while ago: a later sweep tries again."""
    failed = Job.objects.filter(object_type="vm", object_id=vm.pk, kind=kind, user=None, status=JobStatus.FAILED)
    if failed.filter(finished_at__gt=now - RETRY_AFTER).exists():
        return False
    try:
        with transaction.atomic():
            if not due.select_for_update().filter(pk=vm.pk).exists():
                return False
            submit(kind, user=None, target=vm, title=title, params=params, locks=own_disks(vm) if kind == "vm.remove" else ())
    except ObjectBusy as busy:
        log.info("%s waits: %s", title, busy)
        return False
    return True
