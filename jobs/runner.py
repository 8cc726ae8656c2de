"""Running one job: claim, steps, undo, end. Safe whoever runs it, how often, and wherever it is killed."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from audit import circumstances
from events.log import record
from hypervisor.errors import HostUnreachable, HypervisorError
from jobs.context import Context, announce
from jobs.errors import Cancelled, ClaimLost, Later, NotNow, StepFailed
from jobs.heartbeat import heartbeat
from jobs.kinds import Kind, StepDef, all_kinds
from jobs.models import Job, JobStatus, Lock, Step, StepStatus
from portal.errors import NotPossible

log = logging.getLogger(__name__)

# A job that was begun this often and never ended has killed its workers: undo it instead.
MAX_ATTEMPTS = 3
UNDO_RETRY_SECONDS = 5


def run(job_id: UUID) -> bool:
    """Runs a job that waits, or whose worker died. False when another worker has it or it has ended."""
    claim = uuid4()
    if not _claim(job_id, claim):
        return False
    job = Job.objects.get(pk=job_id)
    announce(job)
    context = Context(job, claim)
    with heartbeat.keeping(context), circumstances.acting(circumstances.of_job(job)):
        try:
            _execute(context)
        except ClaimLost:
            log.warning("job %s was taken over by another worker", job_id)
    return True


def _claim(job_id: UUID, claim: UUID) -> bool:
    """One UPDATE decides between workers: only one sees its row change."""
    now = timezone.now()
    stale = now - timedelta(seconds=settings.JOB_STALE_SECONDS)
    waiting = Q(status=JobStatus.QUEUED) & (Q(retry_at__isnull=True) | Q(retry_at__lte=now))
    orphaned = Q(status=JobStatus.RUNNING, heartbeat_at__lt=stale)
    changed = Job.objects.filter(waiting | orphaned, pk=job_id).update(
        status=JobStatus.RUNNING,
        claimed_by=claim,
        heartbeat_at=now,
        attempts=F("attempts") + 1,
        started_at=Coalesce("started_at", now),
        retry_at=None,
        rev=F("rev") + 1,
    )
    return bool(changed)


def _execute(context: Context) -> None:
    job = context.job
    rows = list(job.steps.all())
    kind = all_kinds().get(job.kind)
    steps = kind.steps(job) if kind is not None else []
    if kind is None or [step.name for step in steps] != [row.name for row in rows]:
        # Another version of Vireo made the job. What its steps were, and how they are undone, nobody here knows.
        context.update(error=f"This version of Vireo has no job {job.kind} with the steps that it was made with.")
        _end(context, kind or Kind(job.kind, lambda job: []), JobStatus.FAILED)
        return
    if job.undoing:
        _undo(context, kind, steps, rows)
        return
    try:
        if job.attempts > MAX_ATTEMPTS:
            raise StepFailed(f"The worker died {MAX_ATTEMPTS} times while it ran this.")
        _do(context, steps, rows)
    except Later as pause:
        _pause(context, pause)
    except Cancelled:
        _begin_undo(context, kind, steps, rows, "")
    except (StepFailed, NotPossible, ValidationError, IntegrityError, HypervisorError) as error:
        _begin_undo(context, kind, steps, rows, _words(error), _detail(error))
    except (ClaimLost, DatabaseError):
        raise  # nothing can be written: the sweep finds the job when the database is back
    except Exception:
        log.exception("job %s (%s) failed by an error of Vireo itself", job.pk, job.kind)
        _begin_undo(context, kind, steps, rows, "Something went wrong in Vireo itself; its log has the details.")
    else:
        _end(context, kind, JobStatus.SUCCEEDED)


def _words(error: Exception) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)


def _detail(error: Exception) -> str:
    if isinstance(error, StepFailed):
        return error.detail
    if isinstance(error, HypervisorError):
        return f"libvirt {error.code_name}: {error.message}"
    return ""


def _do(context: Context, steps: list[StepDef], rows: list[Step]) -> None:
    total, done = sum(step.weight for step in steps), 0
    for step, row in zip(steps, rows, strict=True):
        context.at_step(done, step.weight, total)
        if row.status != StepStatus.DONE:
            context.check()
            _mark(context, row, StepStatus.RUNNING)
            context.update(message=step.title, progress=context.percent_done)
            try:
                step.do(context)
            except (ClaimLost, DatabaseError, Later):
                raise
            except Exception:
                _mark(context, row, StepStatus.FAILED)
                raise
            _mark(context, row, StepStatus.DONE)
        done += step.weight


def _mark(context: Context, row: Step, status: StepStatus) -> None:
    """Writes a step's status while the job is ours. Raises ClaimLost when it is not."""
    row.status = status
    if status == StepStatus.RUNNING:
        row.started_at = timezone.now()
    else:
        row.finished_at = timezone.now()
    ours = Step.objects.filter(pk=row.pk, job__claimed_by=context.claim)
    if context.claim_lost or not ours.update(status=status, started_at=row.started_at, finished_at=row.finished_at):
        context.claim_lost = True
        raise ClaimLost


def _begin_undo(context: Context, kind: Kind, steps: list[StepDef], rows: list[Step], error: str, detail: str = "") -> None:
    """From here the job only goes back, also when the next worker goes on with it. No error means that it was cancelled."""
    context.update(undoing=True, error=error, error_detail=detail, message="Undoing")
    if error:
        context.log(error)
    _undo(context, kind, steps, rows)


def _undo(context: Context, kind: Kind, steps: list[StepDef], rows: list[Step]) -> None:
    for step, row in reversed(list(zip(steps, rows, strict=True))):
        if row.status in (StepStatus.PENDING, StepStatus.UNDONE, StepStatus.UNDO_FAILED):
            continue
        if step.undo is not None:
            try:
                step.undo(context)
            except (HostUnreachable, NotNow) as error:
                _wait_for_host(context, str(error))
                return
            except (ClaimLost, DatabaseError):
                raise
            except (HypervisorError, StepFailed, NotPossible) as error:
                _undo_failed(context, step, row, str(error))
                continue
            except Exception:
                log.exception("job %s (%s): undoing «%s» failed by an error of Vireo itself", context.job.pk, context.job.kind, step.name)
                _undo_failed(context, step, row, "an error of Vireo itself; its log has the details")
                continue
        _mark(context, row, StepStatus.UNDONE)
    _end(context, kind, JobStatus.FAILED if context.job.error else JobStatus.CANCELLED)


def _undo_failed(context: Context, step: StepDef, row: Step, why: str) -> None:
    """The rest is undone all the same; a person has to look after this one."""
    _mark(context, row, StepStatus.UNDO_FAILED)
    context.log(f"«{step.title}» could not be undone: {why}")
    record("job.undo_failed", f"«{context.job.title}»: «{step.title}» could not be undone: {why}", severity="error", job=context.job)


def _wait_for_host(context: Context, why: str) -> None:
    """Gives the job back to the queue: what it left on the host is undone when the host answers again. The locks stay."""
    context.update(
        status=JobStatus.QUEUED,
        claimed_by=None,
        retry_at=timezone.now() + timedelta(seconds=UNDO_RETRY_SECONDS),
        delivered_at=None,
        message=f"Waits to undo: {why}"[:500],
    )


def _pause(context: Context, pause: Later) -> None:
    """Gives the job back to the queue in the middle of a step. The locks stay; the run does not count as an attempt."""
    context.update(
        status=JobStatus.QUEUED,
        claimed_by=None,
        retry_at=timezone.now() + timedelta(seconds=pause.seconds),
        delivered_at=None,
        attempts=max(0, context.job.attempts - 1),
        message=str(pause)[:500],
    )
    if pause.ready():
        wake([context.job.pk])


def wake(job_ids: Iterable[UUID]) -> None:
    """Jobs that wait in the middle of a step are run again now; others are left alone."""
    from jobs.engine import deliver

    for job_id in job_ids:
        if Job.objects.filter(pk=job_id, status=JobStatus.QUEUED, undoing=False, retry_at__isnull=False).update(retry_at=None):
            deliver(job_id)


def wake_parent(job: Job) -> None:
    """For a kind's last word: the job that asked for this one, and waits, goes on."""
    if parent := job.params.get("parent"):
        transaction.on_commit(lambda: wake([UUID(parent)]))


def _end(context: Context, kind: Kind, status: JobStatus) -> None:
    """The final status, the end of the locks, and the kind's own last word: all or nothing."""
    job = context.job
    with transaction.atomic():
        fields = {"status": status, "finished_at": timezone.now(), "message": "", "claimed_by": None}
        if status == JobStatus.SUCCEEDED:
            fields["progress"] = 100
        changed = Job.objects.filter(pk=job.pk, claimed_by=context.claim).update(rev=F("rev") + 1, **fields)
        if not changed:
            raise ClaimLost
        Lock.objects.filter(job=job).delete()
        for name, value in fields.items():
            setattr(job, name, value)
        job.rev += 1
        if kind.on_end is not None:
            kind.on_end(job)
        _record_end(job)
        announce(job)


def _record_end(job: Job) -> None:
    severity = "error" if job.status == JobStatus.FAILED else "info"
    words = f"{job.title}: {job.get_status_display()}" + (f". {job.error}" if job.error else "")
    event = record(f"job.{job.status}", words, severity=severity, user=job.user, job=job)
    # The event belongs to the job's object, which may be gone by now.
    event.object_type, event.object_id, event.object_name = job.object_type, job.object_id, job.object_name
    event.save(update_fields=["object_type", "object_id", "object_name"])
