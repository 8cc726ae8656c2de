"""The engine itself, with kinds of job that only the tests know."""

import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Event
from hypervisor.errors import HostUnreachable, OperationFailed
from jobs import engine, runner
from jobs.errors import Later, NotCancellable, NotNow, ObjectBusy, StepFailed
from jobs.kinds import StepDef, register
from jobs.models import Job, JobStatus, Lock, StepStatus
from tests.build import make_user, make_vm

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trace() -> list[str]:
    return []


def step(trace, name, do=None, undo=None):
    """A step that notes what was done and undone; `do` and `undo` may add to it."""

    def run_do(context):
        trace.append(f"do {name}")
        if do:
            do(context)

    def run_undo(context):
        trace.append(f"undo {name}")
        if undo:
            undo(context)

    return StepDef(name, name.capitalize(), run_do, run_undo)


def submit(steps, user=None, **options):
    register("test.kind", steps, **options)
    return engine.submit("test.kind", user=user or make_user(), target=make_vm(), title="A test")


def fail(error):
    def raise_it(context):
        raise error

    return raise_it


def test_steps_run_in_order_and_locks_end_with_the_job(trace):
    job = submit([step(trace, "one"), step(trace, "two")])
    assert Lock.objects.filter(job=job).count() == 1
    assert runner.run(job.pk)
    job.refresh_from_db()
    assert (job.status, job.progress, trace) == (JobStatus.SUCCEEDED, 100, ["do one", "do two"])
    assert not Lock.objects.exists()


def test_a_job_delivered_twice_runs_once(trace):
    job = submit([step(trace, "one")])
    assert runner.run(job.pk)
    assert not runner.run(job.pk)
    assert trace == ["do one"]


def test_two_workers_at_once_claim_it_once(trace):
    gate = threading.Barrier(2)
    job = submit([step(trace, "one")])
    results = []

    def race():
        gate.wait(5)
        results.append(runner.run(job.pk))

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == [False, True]
    assert trace == ["do one"]


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_whichever_step_fails_all_that_began_is_undone_in_reverse(trace, broken):
    names = ["one", "two", "three"]
    steps = [
        step(trace, name, fail(OperationFailed("disk is on fire", 1, 10)) if index == broken else None) for index, name in enumerate(names)
    ]
    job = submit(steps)
    runner.run(job.pk)
    job.refresh_from_db()
    begun = names[: broken + 1]
    assert trace == [f"do {name}" for name in begun] + [f"undo {name}" for name in reversed(begun)]
    assert job.status == JobStatus.FAILED
    assert "disk is on fire" in job.error
    assert "disk is on fire" in job.error_detail
    assert not Lock.objects.exists()


def test_a_second_job_on_a_locked_object_is_refused_and_names_the_holder(trace):
    register("test.kind", [step(trace, "one")])
    vm, user = make_vm(), make_user()
    first = engine.submit("test.kind", user=user, target=vm, title="Start web-01")
    with pytest.raises(ObjectBusy, match="Start web-01") as refused:
        engine.submit("test.kind", user=user, target=vm, title="Again")
    assert refused.value.holder == first
    assert Job.objects.count() == 1


def test_a_dead_workers_job_goes_on_at_the_step_that_was_interrupted(trace):
    class WorkerDied(BaseException):
        pass

    deaths = [WorkerDied()]
    job = submit([step(trace, "one"), step(trace, "two", lambda context: fail(deaths.pop())(context) if deaths else None)])
    with pytest.raises(WorkerDied):
        runner.run(job.pk)
    assert not runner.run(job.pk), "its heartbeat is fresh: nobody may take it yet"
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    assert runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED
    assert trace == ["do one", "do two", "do two"]


def test_a_job_that_kills_its_workers_is_undone_in_the_end(trace):
    job = submit([step(trace, "one")])
    Job.objects.update(status=JobStatus.RUNNING, attempts=runner.MAX_ATTEMPTS, heartbeat_at=timezone.now() - timedelta(hours=1))
    job.steps.update(status=StepStatus.RUNNING)
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert trace == ["undo one"]


def test_a_worker_that_lost_its_claim_writes_nothing_more(trace):
    def steal(context):
        Job.objects.update(claimed_by="11111111-1111-1111-1111-111111111111")
        context.update(message="still mine?")

    job = submit([step(trace, "one", steal), step(trace, "two")])
    runner.run(job.pk)
    job.refresh_from_db()
    assert trace == ["do one"]
    assert job.status == JobStatus.RUNNING
    assert Lock.objects.exists()


def test_undo_waits_for_a_host_that_does_not_answer_and_keeps_the_lock(trace):
    away = [True]
    job = submit(
        [step(trace, "one", fail(StepFailed("no")), lambda context: fail(HostUnreachable("node1 is away"))(context) if away else None)]
    )
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.QUEUED
    assert job.undoing
    assert Lock.objects.exists()
    away.clear()
    Job.objects.update(retry_at=timezone.now())
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert not Lock.objects.exists()


def test_cancelling_a_running_job_undoes_it(trace):
    def ask(context):
        engine.cancel(context.job.user, context.job)
        context.cancel_seen = True

    job = submit([step(trace, "one", ask), step(trace, "two")])
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert trace == ["do one", "undo one"]


def test_an_ended_job_and_one_of_a_stranger_cannot_be_cancelled(trace):
    job = submit([step(trace, "one")])
    with pytest.raises(NotCancellable, match="Only who started"):
        engine.cancel(make_user(), job)
    runner.run(job.pk)
    job.refresh_from_db()
    with pytest.raises(NotCancellable, match="already"):
        engine.cancel(job.user, job)


def test_an_error_of_our_own_is_logged_and_shows_no_traceback(trace, caplog):
    job = submit([step(trace, "one", lambda context: {}["missing"])])
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert "KeyError" not in job.error + job.error_detail
    assert "KeyError" in caplog.text


def test_the_sweep_sends_what_was_lost_and_what_a_dead_worker_left(trace, monkeypatch):
    sent = []
    monkeypatch.setattr(engine, "deliver", sent.append)
    lost, orphaned, fresh = (submit([step(trace, "one")]) for _ in range(3))
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=lost.pk).update(delivered_at=long_ago)
    Job.objects.filter(pk=orphaned.pk).update(status=JobStatus.RUNNING, heartbeat_at=long_ago)
    Job.objects.filter(pk=fresh.pk).update(delivered_at=timezone.now())
    sent.clear()
    engine.sweep()
    assert set(sent) == {lost.pk, orphaned.pk}


def test_an_undo_that_breaks_by_an_error_of_our_own_ends_the_job_and_says_so(trace, caplog):
    steps = [step(trace, "one"), step(trace, "two", fail(StepFailed("no")), lambda context: {}["missing"])]
    job = submit(steps)
    runner.run(job.pk)
    job.refresh_from_db()
    assert trace == ["do one", "do two", "undo two", "undo one"]
    assert (job.status, job.error) == (JobStatus.FAILED, "no")
    assert [row.status for row in job.steps.all()] == [StepStatus.UNDONE, StepStatus.UNDO_FAILED]
    assert Event.objects.filter(kind="job.undo_failed", job=job).exists()
    assert "KeyError" in caplog.text
    assert not Lock.objects.exists()


def test_an_undo_that_needs_a_host_that_is_away_waits_for_it(trace):
    job = submit([step(trace, "one", fail(StepFailed("no")), fail(NotNow("node1 rests")))])
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.status, job.undoing, job.message) == (JobStatus.QUEUED, True, "Waits to undo: node1 rests")
    assert Lock.objects.filter(job=job).exists()


@pytest.mark.parametrize("now", [None, "other"])
def test_a_job_of_another_version_ends_instead_of_going_round_for_ever(trace, now):
    job = submit([step(trace, "one")])
    if now is None:
        Job.objects.update(kind="gone.kind")
    else:
        register("test.kind", [step(trace, now)])
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert "This version of Vireo" in job.error
    assert trace == []
    assert not Lock.objects.exists()


def test_a_process_that_slept_looks_whether_the_job_is_still_its_own(trace, settings):
    def sleep_and_lose(context):
        Job.objects.update(claimed_by="11111111-1111-1111-1111-111111111111")
        context.beat_at -= settings.JOB_STALE_SECONDS
        context.check()
        trace.append("went on")

    job = submit([step(trace, "one", sleep_and_lose)])
    runner.run(job.pk)
    assert trace == ["do one"]
    assert job.steps.get().status == StepStatus.RUNNING, "the step's row is the new worker's"


def test_a_submit_never_waits_for_a_broker_that_is_away(trace, monkeypatch, tmp_path):
    from kombu import Connection

    from jobs.tasks import run_job

    options = run_job.app.conf.broker_transport_options
    send = run_job.apply_async
    with Connection(f"redis+socket://{tmp_path}/none.sock", transport_options=options) as broker:
        monkeypatch.setattr(run_job, "apply_async", lambda args, **given: send(args, connection=broker, **given))
        began = time.monotonic()
        job = submit([step(trace, "one")])
        assert time.monotonic() - began < 2
    job.refresh_from_db()
    assert (job.status, job.delivered_at) == (JobStatus.QUEUED, None)


def test_a_step_that_waits_gives_its_worker_back_and_goes_on_when_woken(trace):
    def wait(context):
        if len(trace) < 5:
            raise Later("waits for others", seconds=3600)

    job = submit([step(trace, "one"), step(trace, "two", wait)])
    for _ in range(3):
        assert runner.run(job.pk)
        job.refresh_from_db()
        assert (job.status, job.message, job.attempts) == (JobStatus.QUEUED, "waits for others", 0)
        assert not runner.run(job.pk), "not before its time"
        assert Lock.objects.filter(job=job).exists()
        runner.wake([job.pk])
    assert runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED
    assert trace == ["do one", "do two", "do two", "do two", "do two"]


def test_a_wake_that_came_before_the_pause_is_not_lost(trace):
    job = submit(
        [step(trace, "one", lambda context: fail(Later("waits", seconds=3600, ready=lambda: True))(context) if len(trace) == 1 else None)]
    )
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.status, job.retry_at) == (JobStatus.QUEUED, None)


def test_a_job_that_waits_is_cancelled_and_undone(trace):
    user = make_user()
    job = submit([step(trace, "one"), step(trace, "two", fail(Later("waits", seconds=3600)))], user=user)
    runner.run(job.pk)
    job.refresh_from_db()
    engine.cancel(user, job)
    assert runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert trace == ["do one", "do two", "undo two", "undo one"]
