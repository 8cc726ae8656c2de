"""Who has to run again, since when, and when it is tried: the queue of restarts.

`sweep` runs in every beat of every server: a VM's lock lets one job of it through.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from events.log import record
from events.models import Severity
from hosts.models import HostStatus
from jobs.engine import submit
from jobs.errors import ObjectBusy
from jobs.models import Job, JobStatus
from portal.live import publish
from vms.ha.models import Restart
from vms.models import VM, VmStatus

log = logging.getLogger(__name__)

KIND = "vm.ha_start"
# A VM that ends right after each start is left alone after so many within the time, until a person looks.
MOST_RESTARTS, WITHIN = 5, timedelta(hours=1)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)
_RUNS = (VmStatus.UP, VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS, VmStatus.PAUSED, VmStatus.POWERING_DOWN)


def due(vms: Iterable[VM], now: datetime | None = None) -> None:
    """These ended without being asked to: those that are highly available will run again. Called where that end is written."""
    now = now or timezone.now()
    for vm in vms:
        if not vm.highly_available:
            continue
        recent = _recent(vm, now)
        values = {
            "cause": vm.status_reason,
            "asked_at": now,
            "not_before": now + _pause(recent),
            "attempts": 0,
            "error": "",
            "given_up": recent >= MOST_RESTARTS,
        }
        Restart.objects.update_or_create(vm=vm, defaults=values)
        if recent >= MOST_RESTARTS:
            text = (
                f"{vm.name} ended again ({vm.status_reason}), after {recent} restarts within an hour: it stays down until somebody runs it"
            )
            record("vm.restart_given_up", text, obj=vm, severity=Severity.ERROR)
        else:
            record("vm.restart_due", f"{vm.name} will run again: {vm.status_reason}", obj=vm, severity=Severity.WARNING)


def _recent(vm: VM, now: datetime) -> int:
    mine = Job.objects.filter(kind=KIND, object_type=VM.OBJECT_TYPE, object_id=vm.pk, status=JobStatus.SUCCEEDED)
    return mine.filter(finished_at__gt=now - WITHIN).count()


def _pause(tries: int) -> timedelta:
    """None before the first, then twice as long each time."""
    return min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE) if tries else timedelta()


def sweep(now: datetime | None = None) -> list[Job]:
    """Asks for what is due at `now`, the important first. Returns the jobs."""
    now = now or timezone.now()
    _settle()
    _look_at_leases(now)
    waiting = Restart.objects.filter(given_up=False, not_before__lte=now).select_related("vm__host")
    rows = waiting.order_by("-vm__priority", "asked_at", "vm__name")
    return [job for row in rows if (job := _ask(row)) is not None]


def _settle() -> None:
    """What runs, by whose hand ever, or is highly available no more, waits for nothing."""
    for row in Restart.objects.filter(vm__status__in=_RUNS) | Restart.objects.filter(vm__highly_available=False):
        forget(row)


def forget(row: Restart) -> None:
    vm = row.vm
    if Restart.objects.filter(pk=row.pk).delete()[0]:
        publish("vm", vm.pk, "changed", vm.rev)


def _look_at_leases(now: datetime) -> None:
    """Hosts that nobody could fence: where a VM's disks have locks, these tell whether it still runs."""
    silent = now - timedelta(seconds=settings.HA_LEASE_SECONDS)
    lost = VM.objects.filter(highly_available=True, restart_by_lease=True, status=VmStatus.UNKNOWN, restart=None)
    for vm in lost.filter(host__status=HostStatus.NON_RESPONSIVE, host__status_since__lte=silent).select_related("host"):
        cause = f"{vm.host} does not answer, and was not fenced"
        if Restart.objects.get_or_create(vm=vm, defaults={"cause": cause, "not_before": now})[1]:
            record("vm.restart_due", f"{vm.name} will run again if its disks are free: {cause}", obj=vm, severity=Severity.WARNING)


def _ask(row: Restart) -> Job | None:
    """None while nothing can be done: the VM is busy, or nobody knows whether it runs."""
    vm, params = row.vm, {}
    if vm.expires_at is not None and vm.expires_at <= timezone.now():
        return None  # its time ended: it stays down unless it is prolonged
    if vm.status == VmStatus.UNKNOWN and vm.restart_by_lease:
        params = {"by_lease": True}
    elif vm.status != VmStatus.DOWN:
        return None
    try:
        return submit(KIND, user=None, target=vm, title=f"Run {vm.name} again: {row.cause}", params=params)
    except ObjectBusy as busy:
        log.info("%s waits to run again: %s", vm.name, busy)
        return None


def ended(job: Job) -> None:
    """Last word of a restart: it runs, or it is tried again later."""
    row = Restart.objects.select_for_update(of=("self",)).select_related("vm").filter(pk=job.object_id).first()
    if row is None:
        return
    if job.status == JobStatus.SUCCEEDED:
        forget(row)
        return
    row.attempts, row.error = row.attempts + 1, job.error
    row.not_before = timezone.now() + _pause(row.attempts)
    row.save(update_fields=["attempts", "error", "not_before"])
    publish("vm", row.vm_id, "changed", row.vm.rev)
