"""Submitting, delivering, cancelling and recovering jobs. Running one is jobs.runner's."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway

from accounts.permissions import allowed
from audit import log as audit
from jobs.context import Context, announce
from jobs.errors import NotCancellable, ObjectBusy
from jobs.kinds import StepDef, kind_of, register
from jobs.models import Job, JobStatus, Lock, Step

__all__ = ["Context", "StepDef", "cancel", "deliver", "holder_of", "register", "submit", "sweep"]

log = logging.getLogger(__name__)

# A message that was sent this long ago and whose job still waits was lost, or all workers are busy: send it again.
REDELIVER_SECONDS = 8


def holder_of(obj: Any) -> Job | None:
    """The job that holds the object now."""
    lock = Lock.objects.select_related("job").filter(object_type=obj.OBJECT_TYPE, object_id=obj.pk).first()
    return lock.job if lock else None


def submit(
    kind: str,
    *,
    user: Any,
    target: Any,
    title: str,
    params: dict[str, Any] | None = None,
    locks: Iterable[Any] = (),
    change: audit.Change | None = None,
) -> Job:
    """Queues a job and locks what it works on, in one transaction; the workers hear of it on commit.

    Args:
        target: the object that the job is about; always locked.
        locks: further objects that no other job may touch meanwhile.
        change: what differs before and after, for the audit log.

    Raises:
        ObjectBusy: another job holds one of them.
    """
    definition = kind_of(kind)
    wanted = sorted({(obj.OBJECT_TYPE, obj.pk): obj for obj in (target, *locks)}.items(), key=lambda item: (item[0][0], str(item[0][1])))
    with transaction.atomic():
        job = Job.objects.create(
            kind=kind,
            title=title[:300],
            object_type=target.OBJECT_TYPE,
            object_id=target.pk,
            object_name=str(target)[:255],
            params=params or {},
            user=user,
            cancellable=definition.cancellable,
        )
        for (object_type, object_id), obj in wanted:
            try:
                with transaction.atomic():
                    Lock.objects.create(object_type=object_type, object_id=object_id, job=job)
            except IntegrityError:
                raise ObjectBusy(str(obj), holder_of(obj)) from None
        steps = definition.steps(job)
        Step.objects.bulk_create([Step(job=job, index=index, name=step.name, title=step.title) for index, step in enumerate(steps)])
        audit.append(f"{kind}.asked", title, obj=target, user=user, change=change, details=job.params, job_id=job.pk)
        transaction.on_commit(lambda: deliver(job.pk))
        announce(job, "added")
    return job


def deliver(job_id: UUID) -> None:
    """Sends the id to the workers. When the broker is away the job waits in its table for the sweep."""
    from jobs.tasks import run_job

    try:
        run_job.apply_async((str(job_id),), retry=False)
    except (BrokerAway, OSError) as error:
        log.warning("job %s waits for the sweep: the broker is away (%s)", job_id, error)
        return
    Job.objects.filter(pk=job_id, status=JobStatus.QUEUED).update(delivered_at=timezone.now())


def sweep() -> int:
    """Sends again every job that waits undelivered, and every one whose worker died; how many.

    Any number of sweeps may run at once: a job delivered twice is claimed once.
    """
    now = timezone.now()
    sent_before = now - timedelta(seconds=REDELIVER_SECONDS)
    waiting = (
        Q(status=JobStatus.QUEUED)
        & (Q(retry_at__isnull=True) | Q(retry_at__lte=now))
        & (Q(delivered_at__isnull=True, created_at__lt=now - timedelta(seconds=1)) | Q(delivered_at__lt=sent_before))
    )
    orphaned = Q(status=JobStatus.RUNNING, heartbeat_at__lt=now - timedelta(seconds=settings.JOB_STALE_SECONDS))
    ids = list(Job.objects.filter(waiting | orphaned).order_by("created_at").values_list("pk", flat=True)[:500])
    for job_id in ids:
        deliver(job_id)
    return len(ids)


def cancel(user: Any, job: Job) -> None:
    """Asks a job to stop and to undo what it did. One that has not begun ends at once.

    Raises:
        NotCancellable: it has ended, or its kind cannot be stopped half-way.
    """
    target = (job.object_type, job.object_id, job.object_name)
    if not _may_cancel(user, job):
        audit.append(f"{job.kind}.cancel", f"Cancel «{job.title}»", target=target, user=user, outcome="refused", job_id=job.pk)
        raise NotCancellable("Only who started a job, or an administrator of its object, cancels it.")
    if job.status in JobStatus.finished():
        raise NotCancellable(f"«{job.title}» has already {job.status}.")
    if not job.cancellable:
        raise NotCancellable(f"«{job.title}» cannot be stopped half-way.")
    audit.append(f"{job.kind}.cancel", f"Cancel «{job.title}»", target=target, user=user, job_id=job.pk)
    stop(job)


def stop(job: Job) -> None:
    """Cancels without asking who wants it: for jobs that belong to another job."""
    Job.objects.filter(pk=job.pk).exclude(status__in=JobStatus.finished()).update(cancel_requested=True, rev=F("rev") + 1)
    Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED, undoing=False).update(retry_at=None)
    job.refresh_from_db()
    announce(job)
    if job.status == JobStatus.QUEUED:
        deliver(job.pk)  # a worker claims it, sees the wish, and undoes what there is


def _may_cancel(user: Any, job: Job) -> bool:
    """One's own job, always; another's only with the right to edit its object."""
    if job.user_id == user.pk:
        return True
    from django.core.exceptions import ObjectDoesNotExist

    from accounts.objects import find

    try:
        obj = find(job.object_type, job.object_id)
    except (KeyError, ObjectDoesNotExist):
        obj = None
    return allowed(user, f"{job.object_type}.edit", obj)
