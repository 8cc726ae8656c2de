"""One thread per worker process keeps the claims of its running jobs alive, and carries wishes to cancel to them."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from jobs.context import Context
from jobs.models import Job, JobStatus

log = logging.getLogger(__name__)


class Heartbeat:
    def __init__(self) -> None:
        self._contexts: dict[UUID, Context] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, context: Context) -> Iterator[None]:
        """Beats for the context's job while the block runs."""
        with self._changed:
            self._contexts[context.claim] = context
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="job-heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._contexts.pop(context.claim, None)
                self._changed.notify()

    def _beat(self) -> None:
        while True:
            with self._changed:
                if not self._contexts:
                    # Nothing runs: the thread ends, and the next job starts another.
                    self._thread = None
                    return
                self._changed.wait(settings.JOB_HEARTBEAT_SECONDS)
                contexts = dict(self._contexts)
            try:
                self._beat_once(contexts)
            except DatabaseError as error:
                log.warning("heartbeats could not be written: %s", error)
            finally:
                close_old_connections()

    def _beat_once(self, contexts: dict[UUID, Context]) -> None:
        if not contexts:
            return
        claims = list(contexts)
        Job.objects.filter(claimed_by__in=claims, status=JobStatus.RUNNING).update(heartbeat_at=timezone.now())
        wishes = dict(Job.objects.filter(claimed_by__in=claims).values_list("claimed_by", "cancel_requested"))
        for claim, context in contexts.items():
            context.claim_lost = context.claim_lost or claim not in wishes
            context.beat_at = time.monotonic()
            context.cancel_seen = wishes.get(claim, False) or context.cancel_seen


heartbeat = Heartbeat()
