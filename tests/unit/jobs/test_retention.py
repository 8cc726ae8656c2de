"""Old events and finished jobs leave; what still runs stays, however old."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events import tasks
from events.log import record
from events.models import Event
from jobs.models import Job, JobStatus, LogLine
from tests.build import make_vm

pytestmark = pytest.mark.django_db


def test_what_is_old_and_over_goes_in_batches(monkeypatch):
    monkeypatch.setattr(tasks, "BATCH", 2)
    vm, now = make_vm(), timezone.now()
    jobs = [Job.objects.create(kind="vm.start", title="Run", object_type="vm", object_id=vm.pk, status=JobStatus.FAILED) for _ in range(7)]
    LogLine.objects.create(job=jobs[0], text="a line")
    Job.objects.filter(pk__in=[job.pk for job in jobs[:5]]).update(finished_at=now - timedelta(days=tasks.JOB_DAYS + 1))
    Job.objects.filter(pk=jobs[4].pk).update(status=JobStatus.RUNNING)
    Job.objects.filter(pk__in=[job.pk for job in jobs[5:]]).update(finished_at=now)
    events = [record("vm.started", "started", obj=vm, job=jobs[0]) for _ in range(5)]
    Event.objects.filter(pk__in=[event.pk for event in events[:3]]).update(at=now - timedelta(days=tasks.EVENT_DAYS + 1))
    tasks.retention()
    assert set(Job.objects.all()) == set(jobs[4:])
    assert set(Event.objects.all()) == set(events[3:])
    assert not LogLine.objects.exists()
