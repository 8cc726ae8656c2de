"""What beat runs for events and finished jobs: rows leave by age."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from events.models import Event
from jobs.models import Job, JobStatus

EVENT_DAYS = 90
JOB_DAYS = 30


@shared_task(name="events.retention")
def retention() -> None:
    now = timezone.now()
    Event.objects.filter(at__lt=now - timedelta(days=EVENT_DAYS)).delete()
    Job.objects.filter(status__in=JobStatus.finished(), finished_at__lt=now - timedelta(days=JOB_DAYS)).delete()
