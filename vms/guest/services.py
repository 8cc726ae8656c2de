"""The verbs of the guest agent. Each checks permission and capability, and returns the job."""

import json
import unicodedata
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from events.log import record
from events.models import Severity
from jobs.engine import holder_of, submit
from jobs.errors import ObjectBusy
from jobs.models import Job, JobStatus
from portal.errors import FieldError, NotPossible
from portal.secrets import encrypt
from vms.guest import can
from vms.guest.models import GuestPassword, GuestReport
from vms.guest.settings import hash_of
from vms.models import VM, VmStatus

FREEZE_SECONDS = range(5, 601)
DEFAULT_FREEZE_SECONDS = 60
THAW_AGAIN_SECONDS, THAW_TRIES = 30, 10
_TITLES = {
    "look": "Ask the guest of {vm}",
    "time": "Set the clock of {vm}",
    "password": "Set a password in {vm}",
    "freeze": "Freeze the filesystems of {vm}",
    "thaw": "Thaw the filesystems of {vm}",
    "seal": "Seal {vm}",
}


def report_of(vm: VM) -> GuestReport | None:
    return GuestReport.objects.filter(vm=vm).first()


def act(user: User, vm: VM, action: str, *, account: str = "", password: str = "", seconds: int = DEFAULT_FREEZE_SECONDS) -> Job:
    """An action of vms.guest.can.ACTIONS as a job.

    Args:
        account, password: of `password`.
        seconds: of `freeze`: after so long it is thawed by itself.

    Raises PermissionDenied, ObjectBusy, NotPossible, FieldError.
    """
    if action not in can.ACTIONS:
        raise NotPossible("There is no such action.")
    require(user, can.ACTIONS[action].permission, vm)
    busy = holder_of(vm)
    if busy is not None:
        raise ObjectBusy(vm.name, busy)
    verdict = can.check(action, vm, report_of(vm))
    if not verdict:
        raise NotPossible(verdict.reason)
    with transaction.atomic():
        params: dict[str, Any] = {}
        if action == "password":
            params = _kept_password(vm, account, password)
        elif action == "freeze":
            if seconds not in FREEZE_SECONDS:
                raise FieldError("seconds", f"{FREEZE_SECONDS.start} to {FREEZE_SECONDS.stop - 1} seconds.")
            params = {"seconds": seconds}
        return submit(f"vm.guest_{action}", user=user, target=vm, title=_TITLES[action].format(vm=vm.name), params=params)


def _kept_password(vm: VM, account: str, password: str) -> dict[str, Any]:
    """Where the job finds it. Linux takes a hash, so that even the host never sees the password; Windows wants the password itself."""
    if not account or len(account) > 64 or ":" in account or _is_odd(account):
        raise FieldError("account", "Name an account of the guest, such as root or Administrator.")
    if not password or len(password) > 255 or _is_odd(password):
        raise FieldError("password", "A password has 1 to 255 characters, on one line.")
    hashed = not can.is_windows(vm)
    value = hash_of(password) if hashed else password
    row = GuestPassword.objects.create(vm=vm, account=account, secret=encrypt(json.dumps({"value": value, "hashed": hashed})))
    return {"account": account, "kept": str(row.pk)}


def _is_odd(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def thaw_due() -> int:
    """Thaws what has been frozen for long enough, and forgets what was frozen in guests that have ended; how many jobs it asked for."""
    due = GuestReport.objects.filter(frozen_until__lte=timezone.now()).select_related("vm__host")
    return sum(_thaw(report) for report in due)


def _thaw(report: GuestReport) -> bool:
    """Moves its moment first, so that a second sweeper does not ask again, and a thaw that fails is tried again."""
    vm, mine = report.vm, GuestReport.objects.filter(pk=report.pk, frozen_until=report.frozen_until)
    if vm.status in (VmStatus.DOWN, VmStatus.SUSPENDED):
        mine.update(frozen_until=None)
        return False
    if _tried_in_vain(vm):
        if mine.update(frozen_until=None):
            text = f"The guest of {vm.name} was frozen and its agent does not thaw it: reset {vm.name} if it hangs"
            record("vm.thaw_failed", text, obj=vm, severity=Severity.WARNING)
        return False
    if not can.check("thaw", vm, report, busy=holder_of(vm)):
        return False
    if not mine.update(frozen_until=timezone.now() + timedelta(seconds=THAW_AGAIN_SECONDS)):
        return False
    try:
        submit("vm.guest_thaw", user=None, target=vm, title=_TITLES["thaw"].format(vm=vm.name))
    except ObjectBusy:
        return False
    return True


def _tried_in_vain(vm: VM) -> bool:
    since = timezone.now() - timedelta(seconds=2 * THAW_TRIES * THAW_AGAIN_SECONDS)
    failed = Job.objects.filter(kind="vm.guest_thaw", object_id=vm.pk, status=JobStatus.FAILED, created_at__gte=since)
    return failed.count() >= THAW_TRIES
