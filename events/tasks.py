"""What beat runs for events, finished jobs and the audit log: rows leave by age, a few at a time, so that nobody waits for the deletion."""

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from audit import retention as audit
from events.models import Event
from jobs.models import Job, JobStatus

EVENT_DAYS = 90
JOB_DAYS = 30
BATCH = 500


@shared_task(name="events.retention")
def retention() -> None:
    now = timezone.now()
    _delete(Event.objects.filter(at__lt=now - timedelta(days=EVENT_DAYS)))
    _delete(Job.objects.filter(status__in=JobStatus.finished(), finished_at__lt=now - timedelta(days=JOB_DAYS)))
    audit.trim()


def _delete(rows: Any) -> None:
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        rows.model.objects.filter(pk__in=ids).delete()


from events.notify.tasks import notify  # noqa: E402, F401  Celery finds tasks in this module
