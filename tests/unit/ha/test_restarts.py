"""The queue of restarts: who is in it, when it is tried, who is left down, and what people see and say."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Event
from hosts.models import Host, HostStatus
from hypervisor.domain_state import DomainState
from hypervisor.domain_xml import to_xml
from hypervisor.domains import DomainRecord
from hypervisor.events import DomainEvent
from jobs import runner
from jobs.models import Job, JobStatus
from storage.models import StorageDomain
from tests.build import make_cluster, make_disk, make_host, make_storage, make_user, make_vm
from vms import observe, states
from vms.ha import leftovers, reserve, restarts
from vms.ha.fenced import host_is_off
from vms.models import VM, DiskAttachment, Priority, Restart, VmStatus
from vms.spec import build_spec

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    return make_host(name="node1")


def protected(host, **fields):
    return make_vm(**{"host": host, "status": VmStatus.UP, "highly_available": True} | fields)


def ends(host, vm, kind="stopped", detail="failed"):
    observe.on_domain_event(host, DomainEvent(uuid=str(vm.pk), name=vm.name, kind=kind, detail=detail, at=timezone.now()))
    vm.refresh_from_db()


def record(vm, state=DomainState.SHUTOFF, reason=""):
    xml = to_xml(build_spec(vm))
    return DomainRecord(
        uuid=str(vm.pk), name=vm.name, state=state, reason=reason, persistent=True, xml=xml, has_managed_save=False, autostart=False
    )


def asked(jobs):
    return [job.object_name for job in jobs]


@pytest.mark.parametrize(
    ("kind", "detail", "again"),
    [
        ("stopped", "failed", True),
        ("stopped", "crashed", True),
        ("crashed", "panicked", True),
        ("stopped", "shutdown", False),
        ("stopped", "destroyed", False),
        ("stopped", "saved", False),
    ],
)
def test_who_crashed_runs_again_and_who_was_stopped_does_not(host, kind, detail, again):
    vm, plain = protected(host), make_vm(host=host, status=VmStatus.UP)
    for each in (vm, plain):
        ends(host, each, kind, detail)
    assert list(Restart.objects.values_list("vm", flat=True)) == ([vm.pk] if again else [])
    assert asked(restarts.sweep()) == ([vm.name] if again else [])


def test_a_host_that_is_off_gives_up_what_ran_there_once(host):
    vm, plain, idle = protected(host), make_vm(host=host, status=VmStatus.UP), protected(host, status=VmStatus.DOWN)
    observe.host_lost(host)
    for _ in range(2):
        host_is_off(host, "node1 was switched off")
    for each in (vm, plain):
        each.refresh_from_db()
        assert (each.status, each.status_reason) == (VmStatus.DOWN, "node1 was switched off")
    assert list(Restart.objects.values_list("vm__name", "cause")) == [(vm.name, "node1 was switched off")]
    assert Event.objects.filter(kind="vm.restart_due", object_id=vm.pk).count() == 1
    assert not Restart.objects.filter(vm=idle).exists()


def test_while_nobody_knows_whether_it_runs_nothing_is_started(host):
    vm = protected(host)
    observe.host_lost(host)
    vm.refresh_from_db()
    assert vm.status == VmStatus.UNKNOWN
    assert restarts.sweep(timezone.now() + timedelta(hours=1)) == []
    assert not Restart.objects.exists()


def test_a_host_that_restarted_by_itself_runs_again_what_ran_there(host):
    vm, plain = protected(host), make_vm(host=host, status=VmStatus.UP)
    observe.host_lost(host)
    observe.sync_host(host, [record(vm), record(plain)])
    plain.refresh_from_db()
    assert plain.status_reason == states.HOST_RESTARTED
    assert asked(restarts.sweep()) == [vm.name]


def test_the_important_are_asked_for_first(host):
    for name, priority in (("low", Priority.LOW), ("high", Priority.HIGH), ("medium", Priority.MEDIUM)):
        protected(host, name=name, priority=priority)
    host_is_off(host, "it burnt")
    assert asked(restarts.sweep()) == ["high", "medium", "low"]
    assert restarts.sweep() == [], "each has its job"


def test_a_start_that_fails_is_tried_again_later_and_later(host):
    """The only host is off: there is no room."""
    vm = protected(host)
    Host.objects.filter(pk=host.pk).update(status=HostStatus.DOWN)
    host_is_off(host, "it burnt")
    pauses, now = [], timezone.now()
    for _ in range(3):
        (job,) = restarts.sweep(now)
        runner.run(job.pk)
        job.refresh_from_db()
        assert job.status == JobStatus.FAILED and "No host" in job.error
        row = Restart.objects.get(vm=vm)
        assert "No host" in row.error
        pauses.append((row.not_before - timezone.now()).total_seconds())
        assert restarts.sweep() == []
        now = row.not_before
    assert pauses == [pytest.approx(seconds, abs=2) for seconds in (5, 10, 20)]


def test_what_ends_after_every_restart_is_left_down_until_somebody_looks(host):
    vm = protected(host)
    for _ in range(restarts.MOST_RESTARTS):
        Job.objects.create(
            kind=restarts.KIND, object_type="vm", object_id=vm.pk, status=JobStatus.SUCCEEDED, finished_at=timezone.now(), title="Run"
        )
    ends(host, vm)
    assert Restart.objects.get(vm=vm).given_up
    assert restarts.sweep(timezone.now() + timedelta(days=1)) == []
    assert Event.objects.filter(kind="vm.restart_given_up", object_id=vm.pk, severity="error").exists()
    ends(host, vm, "started", "booted")
    restarts.sweep()
    assert not Restart.objects.exists(), "somebody ran it"


def test_who_runs_by_whose_hand_ever_or_is_protected_no_more_waits_for_nothing(host):
    runs, plain = protected(host), protected(host)
    for vm in (runs, plain):
        ends(host, vm)
    ends(host, runs, "started", "booted")
    VM.objects.filter(pk=plain.pk).update(highly_available=False)
    assert restarts.sweep() == []
    assert not Restart.objects.exists()


def test_a_machine_whose_time_ended_stays_down(host):
    vm = protected(host, expires_at=timezone.now() - timedelta(minutes=1))
    ends(host, vm)
    assert restarts.sweep() == []
    VM.objects.update(expires_at=None)
    assert asked(restarts.sweep()) == [vm.name]


# -- leases


def on_shared_storage(vm, **fields):
    domain = make_storage(data_center=vm.cluster.data_center, locks_hold=True)
    DiskAttachment.objects.create(vm=vm, disk=make_disk(domain=domain, **fields), target="vda")
    return vm


def silent(host, seconds):
    Host.objects.filter(pk=host.pk).update(status=HostStatus.NON_RESPONSIVE, status_since=timezone.now() - timedelta(seconds=seconds))
    host.refresh_from_db()
    observe.host_lost(host)


def test_locks_are_asked_only_after_storage_servers_let_go_of_a_dead_hosts(host, settings):
    vm, other = (on_shared_storage(protected(host, restart_by_lease=lease)) for lease in (True, False))
    silent(host, settings.HA_LEASE_SECONDS - 5)
    assert restarts.sweep() == []
    (job,) = restarts.sweep(timezone.now() + timedelta(seconds=10))
    assert (job.object_id, job.params) == (vm.pk, {"by_lease": True})
    assert not Restart.objects.filter(vm=other).exists()


def test_a_disk_without_locks_that_came_later_ends_what_locks_may_decide(host, settings):
    make_host(cluster=host.cluster)
    vm = on_shared_storage(protected(host, restart_by_lease=True))
    DiskAttachment.objects.create(vm=vm, disk=make_disk(domain=make_storage(kind="iscsi", data_center=vm.cluster.data_center)), target="vdb")
    silent(host, settings.HA_LEASE_SECONDS + 5)
    (job,) = restarts.sweep()
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED and "cannot tell whether it runs" in job.error


# -- what people see and say


def test_the_settings_are_for_who_may_move_vms(client, host):
    vm = on_shared_storage(make_vm(host=host))
    user = make_user(role="UserVmManager", on=vm)
    client.force_login(user)
    assert "highly_available" not in client.get(f"/vms/{vm.pk}/edit/").content.decode()
    answer = client.patch(f"/api/v1/vms/{vm.pk}", {"highly_available": True}, content_type="application/json")
    assert answer.status_code == 403
    client.force_login(make_user(role="SuperUser"))
    body = {"highly_available": True, "priority": 90, "restart_by_lease": True}
    answer = client.patch(f"/api/v1/vms/{vm.pk}", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert {name: answer.json()[name] for name in body} == body
    vm.refresh_from_db()
    assert (vm.highly_available, vm.priority, vm.restart_by_lease) == (True, 90, True)
    assert client.patch(f"/api/v1/vms/{vm.pk}", {"priority": 7}, content_type="application/json").status_code == 422
    assert "runs again by itself" in client.get(f"/vms/{vm.pk}/?tab=settings").content.decode()


@pytest.mark.parametrize("why", ["no disk", "block device", "local", "shareable", "never tried", "broken"])
def test_only_disks_with_locks_may_decide(client, host, why):
    vm = make_vm(host=host)
    if why == "block device":
        domain = make_storage(data_center=vm.cluster.data_center, kind="iscsi")
        DiskAttachment.objects.create(vm=vm, disk=make_disk(domain=domain), target="vda")
    elif why == "local":
        on_shared_storage(vm, host=host)
    elif why == "shareable":
        on_shared_storage(vm, shareable=True, format="raw")
    elif why in ("never tried", "broken"):
        on_shared_storage(vm)
        StorageDomain.objects.update(locks_hold=None if why == "never tried" else False)
    client.force_login(make_user(role="SuperUser"))
    answer = client.patch(f"/api/v1/vms/{vm.pk}", {"restart_by_lease": True}, content_type="application/json")
    assert answer.status_code == 422
    assert "lock" in answer.content.decode()


def test_the_page_says_that_it_waits_and_takes_a_no(client, host):
    vm = protected(host)
    ends(host, vm)
    client.force_login(make_user(role="UserVmManager", on=vm))
    page = client.get(f"/vms/{vm.pk}/").content.decode()
    assert "will run again by itself" in page and "Leave it down" in page
    assert client.post(f"/vms/{vm.pk}/leave-down/").status_code == 302
    assert not Restart.objects.exists()
    assert Event.objects.filter(kind="vm.left_down", object_id=vm.pk).exists()
    page = client.get(f"/vms/{vm.pk}/").content.decode()
    assert "will run again" not in page


# -- what a host still has when it returns


def test_what_a_host_kept_of_vms_that_moved_on_is_tidied(host):
    other = make_host(name="node2", cluster=host.cluster)
    vm, own, adopted = make_vm(host=other, status=VmStatus.UP), make_vm(host=host), make_vm(host=other, origin="adopted")
    unsure = make_vm(host=other, status=VmStatus.UNKNOWN)
    leftovers.tidy(host, [record(each) for each in (vm, own, adopted, unsure)])
    assert list(Job.objects.filter(kind="vm.tidy").values_list("object_id", "params__host")) == [(vm.pk, str(host.pk))]
    leftovers.tidy(host, [record(vm)])
    assert Job.objects.filter(kind="vm.tidy").count() == 1


def test_one_that_runs_at_both_is_not_touched(host):
    other = make_host(name="node2", cluster=host.cluster)
    vm = make_vm(host=other, status=VmStatus.UP)
    leftovers.tidy(host, [record(vm, DomainState.RUNNING), record(vm, DomainState.PAUSED, "user")])
    assert not Job.objects.exists()
    leftovers.tidy(host, [record(vm, DomainState.PAUSED, "ioerror")])
    assert Job.objects.filter(kind="vm.tidy").exists()


def test_a_broken_reserve_is_told_once_and_so_is_its_return():
    cluster = make_cluster()
    first = make_host(cluster=cluster)
    protected(first, cluster=cluster)
    for _ in range(2):
        reserve.watch()
    assert Event.objects.filter(kind=reserve.BROKEN, object_id=cluster.pk).count() == 1
    make_host(cluster=cluster)
    for _ in range(2):
        reserve.watch()
    assert Event.objects.filter(kind=reserve.RESTORED, object_id=cluster.pk).count() == 1
