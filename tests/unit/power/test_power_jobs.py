"""Jobs on a host's power: nothing is down before it is confirmed, wherever the worker is killed."""

import pytest

from events.models import Event
from hosts.models import Host, HostStatus
from hosts.power import fencing, services, state, switch
from hosts.power.models import HostPower, PowerState
from jobs import engine, runner
from jobs.models import Job, JobStatus, Lock, Step, StepStatus
from tests.build import make_host, make_user, make_vm
from tests.unit.power.conftest import make_agent
from vms.models import VmStatus

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def silent(machines):
    """A host that does not answer, with a VM of unknown state, beside two that answer."""
    from datetime import timedelta

    from django.utils import timezone

    long_ago = timezone.now() - timedelta(minutes=5)
    host = make_host(status=HostStatus.NON_RESPONSIVE, status_since=long_ago, last_seen_at=long_ago, address="127.0.0.1")
    for _number in range(2):
        make_host(cluster=host.cluster, last_seen_at=timezone.now())
    make_agent(host)
    host.vm = make_vm(cluster=host.cluster, host=host, status=VmStatus.UNKNOWN)
    Host.objects.filter(pk=host.pk).update(address="127.0.0.9")
    return host


def fence(host: Host) -> Job:
    fencing.sweep()
    job = Job.objects.filter(kind="host.fence", object_id=host.pk).latest("created_at")
    runner.run(job.pk)
    job.refresh_from_db()
    host.refresh_from_db()
    host.vm.refresh_from_db()
    return job


def run(job: Job) -> Job:
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def test_silent_host_is_switched_off_and_on_again_and_its_vms_are_down(silent, machines):
    job = fence(silent)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert [action for _plug, action in machines.actions()] == ["off", "status", "on", "status"]
    assert (silent.status, silent.vm.status) == (HostStatus.DOWN, VmStatus.DOWN)
    assert "switched off" in silent.vm.status_reason
    assert Event.objects.filter(kind="host.fenced", object_id=silent.pk).exists()
    assert not Lock.objects.exists()


def test_cluster_that_wants_it_off_leaves_it_off(silent, machines):
    silent.cluster.fence_restart = False
    silent.cluster.save()
    assert fence(silent).status == JobStatus.SUCCEEDED
    assert machines.state() == "off"
    assert HostPower.objects.get(host=silent).state == PowerState.OFF


@pytest.mark.parametrize("mood", ["broken", "lies"])
def test_host_that_is_not_confirmed_off_stays_silent_and_its_vms_unknown(silent, machines, mood, monkeypatch):
    monkeypatch.setattr(switch, "CONFIRM_SECONDS", 0)
    monkeypatch.setattr(switch, "CONFIRM_TRIES", 2)
    machines.mood(mood)
    job = fence(silent)
    assert job.status == JobStatus.FAILED
    assert (silent.status, silent.vm.status) == (HostStatus.NON_RESPONSIVE, VmStatus.UNKNOWN)
    assert Event.objects.get(kind="host.fence_failed").severity == "error"
    assert "hunter2" not in job.error_detail + job.error
    power = HostPower.objects.get(host=silent)
    assert power.failures == 1 and power.retry_at is not None
    fencing.sweep()
    assert not Job.objects.exclude(pk=job.pk).filter(kind="host.fence").exists(), "not at once"
    first = power.retry_at
    state.fencing_failed(silent)
    power.refresh_from_db()
    assert power.retry_at - first > first - Event.objects.get(kind="host.fence_failed").at, "later each time"


def test_host_that_answers_again_before_it_is_switched_off_is_left_alone(silent, machines):
    fencing.sweep()
    Host.objects.filter(pk=silent.pk).update(status=HostStatus.UP)
    job = run(Job.objects.get(kind="host.fence"))
    assert job.status == JobStatus.FAILED
    assert machines.calls() == []
    assert not Event.objects.filter(kind="host.fence_failed").exists()


@pytest.mark.parametrize("step", ["decide", "off", "down", "on"])
@pytest.mark.parametrize("after", [True, False])
def test_worker_killed_at_any_step_ends_like_one_that_lived(silent, machines, step, after, monkeypatch):
    """Killed before or after the step's work: the second worker goes on, and off is confirmed before anything is down."""
    from jobs.kinds import StepDef, kind_of

    class Killed(BaseException):
        pass

    kind = kind_of("host.fence")
    original = kind.steps(None)
    lives = {"left": 1}

    def dies(do):
        def wrapped(ctx):
            if after:
                do(ctx)
            if lives["left"]:
                lives["left"] -= 1
                raise Killed
            if not after:
                do(ctx)

        return wrapped

    steps = [StepDef(each.name, each.title, dies(each.do) if each.name == step else each.do, each.undo, each.weight) for each in original]
    monkeypatch.setitem(runner.all_kinds.__globals__["_kinds"], "host.fence", type(kind)(kind.name, lambda job: steps, False, kind.on_end))
    fencing.sweep()
    job = Job.objects.get(kind="host.fence")
    with pytest.raises(Killed):
        runner.run(job.pk)
    Job.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
    run(job)
    silent.refresh_from_db()
    silent.vm.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert (silent.status, silent.vm.status) == (HostStatus.DOWN, VmStatus.DOWN)
    assert machines.state() == "on"


def test_worker_that_takes_over_late_asks_once_more_before_vms_are_down(silent, machines):
    """Between the confirmation and the death of the first worker somebody switched the machine on again."""
    fencing.sweep()
    job = Job.objects.get(kind="host.fence")
    Step.objects.filter(job=job, name__in=("decide", "off")).update(status=StepStatus.DONE)
    Job.objects.filter(pk=job.pk).update(facts={"tried": True, "confirmed_at": "2020-01-01T00:00:00+00:00"})
    Host.objects.filter(pk=silent.pk).update(status=HostStatus.FENCING)
    machines.set("on")
    run(job)
    silent.refresh_from_db()
    silent.vm.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert (silent.status, silent.vm.status) == (HostStatus.NON_RESPONSIVE, VmStatus.UNKNOWN)


def test_two_power_supplies_are_both_off_before_either_is_on(host, machines):
    make_agent(host, "second")
    job = run(services.switch(make_user(role="SuperUser"), host, "power_restart"))
    assert job.status == JobStatus.SUCCEEDED, job.error_detail
    assert machines.actions()[:2] == [("machine", "off"), ("second", "off")]
    switched = [call for call in machines.actions() if call[1] != "status"]
    assert switched == [("machine", "off"), ("second", "off"), ("machine", "on"), ("second", "on")]
    host.refresh_from_db()
    assert host.status == HostStatus.MAINTENANCE


def test_one_of_two_supplies_that_stays_on_is_not_off(host, machines, monkeypatch):
    monkeypatch.setattr(switch, "CONFIRM_SECONDS", 0)
    make_agent(host, "second", with_previous=True)
    machines.mood("lies", "second")
    outcome = switch.off(host)
    assert (outcome.ok, outcome.state) == (False, PowerState.ON)
    machines.mood("broken", "second")
    assert switch.status(host).state == PowerState.ON if machines.state() == "on" else PowerState.UNKNOWN


def test_power_is_asked_for_and_kept(host, machines):
    machines.set("off")
    job = run(services.switch(make_user(role="SuperUser"), host, "power_status"))
    assert job.status == JobStatus.SUCCEEDED
    assert HostPower.objects.get(host=host).state == PowerState.OFF
    machines.mood("broken")
    run(services.switch(make_user(role="SuperUser"), host, "power_status"))
    power = HostPower.objects.get(host=host)
    assert power.state == PowerState.UNKNOWN and power.state_reason


def test_host_that_a_vm_came_to_meanwhile_is_not_switched_off(host, machines):
    job = services.switch(make_user(role="SuperUser"), host, "power_off")
    make_vm(cluster=host.cluster, host=host, status=VmStatus.UP)
    assert run(job).status == JobStatus.FAILED
    assert machines.calls() == []


def test_silent_host_that_is_switched_off_by_hand_is_down(silent, machines):
    job = run(services.switch(make_user(role="SuperUser"), silent, "power_off"))
    silent.refresh_from_db()
    silent.vm.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED
    assert (silent.status, silent.vm.status, machines.state()) == (HostStatus.DOWN, VmStatus.DOWN, "off")


def test_person_who_confirms_that_a_host_is_off_makes_its_vms_down(silent, machines):
    job = run(services.confirm_off(make_user("eve", role="SuperUser"), silent, silent.name))
    silent.refresh_from_db()
    silent.vm.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED
    assert (silent.status, silent.vm.status) == (HostStatus.DOWN, VmStatus.DOWN)
    assert "eve" in silent.status_reason
    assert machines.calls() == []


def test_fencing_that_was_broken_off_by_an_upgrade_is_begun_again(silent):
    Host.objects.filter(pk=silent.pk).update(status=HostStatus.FENCING)
    assert engine.holder_of(silent) is None
    fencing.sweep()
    silent.refresh_from_db()
    assert silent.status == HostStatus.NON_RESPONSIVE


def test_storm_that_begins_after_the_job_was_asked_for_stops_it(silent, machines):
    fencing.sweep()
    others = Host.objects.filter(cluster=silent.cluster).exclude(pk=silent.pk)
    Host.objects.filter(pk=others.first().pk).update(status=HostStatus.NON_RESPONSIVE)
    job = run(Job.objects.get(kind="host.fence"))
    assert job.status == JobStatus.FAILED and "2 of the cluster's 3 hosts" in job.error
    assert machines.calls() == []
    silent.refresh_from_db()
    assert silent.status == HostStatus.NON_RESPONSIVE
    assert HostPower.objects.get(host=silent).failures == 0, "it was not tried"


def test_two_silent_hosts_of_many_are_fenced_one_after_the_other(silent, machines):
    from django.utils import timezone

    for _number in range(4):
        make_host(cluster=silent.cluster, last_seen_at=timezone.now())
    second = Host.objects.filter(cluster=silent.cluster, status=HostStatus.UP).first()
    make_agent(second, "second")
    Host.objects.filter(pk=second.pk).update(status=HostStatus.NON_RESPONSIVE, status_since=silent.status_since, address="127.0.0.10")
    fencing.sweep()
    fencing.sweep()
    first = Job.objects.get(kind="host.fence")
    assert run(first).status == JobStatus.SUCCEEDED, first.error
    fencing.sweep()
    last = Job.objects.filter(kind="host.fence").exclude(pk=first.pk).get()
    assert run(last).status == JobStatus.SUCCEEDED, last.error
    assert {plug for plug, action in machines.actions() if action == "off"} == {"machine", "second"}
