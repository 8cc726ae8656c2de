"""What a running step holds: the job, what earlier steps found out, progress, log, and cancellation."""

import time
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F

from jobs.errors import Cancelled, ClaimLost
from jobs.models import Job, LogLine
from portal.live import publish

PROGRESS_SECONDS = 0.4  # between two published progress messages


class Context:
    """One run of one job by one worker.

    `claim` is the fencing token: every write of this run holds only while the row still carries it.
    """

    def __init__(self, job: Job, claim: UUID) -> None:
        self.job = job
        self.claim = claim
        self.params: dict[str, Any] = job.params
        self.facts: dict[str, Any] = dict(job.facts)
        self.cancel_seen = job.cancel_requested
        self.claim_lost = False
        self.beat_at = time.monotonic()  # when the row last carried our claim for certain
        self._done_weight, self._step_weight, self._total_weight = 0, 1, 1
        self._last_progress = 0.0

    def save_facts(self, **facts: Any) -> None:
        """Remembers what an undo will need. Call it before the outside effect that it is about."""
        self.facts.update(facts)
        self.update(facts=self.facts)

    def log(self, text: str) -> None:
        """One line for the job's log; never a secret."""
        LogLine.objects.create(job=self.job, text=text[:4000])

    def check(self) -> None:
        """Raises ClaimLost or Cancelled when this run should stop; steps call it between outside effects."""
        if time.monotonic() - self.beat_at > settings.JOB_STALE_SECONDS / 2:
            self._look_at_claim()
        if self.claim_lost:
            raise ClaimLost
        if self.cancel_seen and not self.job.undoing:
            raise Cancelled

    check_cancelled = check

    def _look_at_claim(self) -> None:
        """For a process that was stopped or swapped out: its heartbeat was, too, so the job may be another's by now."""
        self.claim_lost = not Job.objects.filter(pk=self.job.pk, claimed_by=self.claim).exists()
        self.beat_at = time.monotonic()

    def progress(self, done: float, total: float) -> None:
        """How far this step is, from real figures; the whole job's share follows from the steps' weights."""
        self.check()
        now = time.monotonic()
        if now - self._last_progress < PROGRESS_SECONDS:
            return
        self._last_progress = now
        share = min(1.0, done / total) if total else 0.0
        self.update(progress=int(100 * (self._done_weight + share * self._step_weight) / self._total_weight), progress_known=True)

    def at_step(self, done_weight: int, step_weight: int, total_weight: int) -> None:
        """The runner tells where the job stands before each step."""
        self._done_weight, self._step_weight, self._total_weight = done_weight, step_weight, max(1, total_weight)

    @property
    def percent_done(self) -> int:
        return int(100 * self._done_weight / self._total_weight)

    def update(self, **fields: Any) -> None:
        """Writes to the job's row and tells the browsers. Raises ClaimLost when the row is another worker's."""
        changed = Job.objects.filter(pk=self.job.pk, claimed_by=self.claim).update(rev=F("rev") + 1, **fields)
        if not changed:
            self.claim_lost = True
            raise ClaimLost
        for name, value in fields.items():
            setattr(self.job, name, value)
        self.job.rev += 1
        announce(self.job)


def announce(job: Job, change: str = "changed") -> None:
    """Tells open browsers about a job, with what the tray shows."""
    facts = {
        "status": job.status,
        "progress": job.progress,
        "progress_known": job.progress_known,
        "title": job.title,
        "message": job.message,
        "error": job.error,
        "object_type": job.object_type,
        "object_id": str(job.object_id),
        "user_id": str(job.user_id or ""),
    }
    publish("job", job.pk, change, job.rev, facts)
