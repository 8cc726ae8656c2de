"""CPUs plugged into a VM that runs: when that is possible, on a host of libvirt's test driver where it runs."""

import pytest

from hosts.connect import forget, link_of
from hosts.models import Cluster, SchedulingPolicy
from hypervisor import domains
from jobs import runner
from jobs.models import JobStatus
from tests.build import make_user, make_vm
from tests.driver_host import driver_host
from vms import services
from vms.hotplug import can_plug
from vms.models import VM, VmOrigin, VmStatus
from vms.spec import MOST_VCPUS, build_spec, most_vcpus
from vms.steps import define


@pytest.mark.parametrize("started", [1, 2, 7, 8, 9, 16, 17, 200, 300])
def test_the_room_stays_the_same_while_the_count_grows(started):
    most = most_vcpus(started)
    assert most >= started and {most_vcpus(count) for count in range(started, most + 1)} == {most}
    assert most <= max(MOST_VCPUS, started)


@pytest.mark.parametrize(
    ("fields", "wanted", "possible"),
    [
        ({}, 2, True),
        ({}, 8, True),
        ({}, 9, False),
        ({"vcpus": 4}, 3, False),
        ({"status": VmStatus.PAUSED}, 2, False),
        ({"status": VmStatus.POWERING_UP}, 2, False),
        ({"origin": VmOrigin.ADOPTED}, 2, False),
    ],
)
def test_what_can_be_plugged_in(fields, wanted, possible):
    assert can_plug(VM(**({"vcpus": 1, "status": VmStatus.UP, "next_run": {"vcpus": wanted}} | fields))) is possible
    assert not can_plug(VM(vcpus=1, status=VmStatus.UP, next_run={"memory_mib": 512}))


@pytest.fixture
def vm(transactional_db, tmp_path):
    host = driver_host(tmp_path, cpu_count=4)
    made = make_vm(name="web-01", host=host, cluster=host.cluster, status=VmStatus.UP, vcpus=1)
    define(made)
    domains.create(link_of(host), str(made.pk))
    yield made
    forget(host)


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


def ended(job):
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def test_row_and_definition_say_what_runs(vm, admin):
    _vm, job = services.edit(admin, vm, {"vcpus": 3, "memory_mib": 1024})
    assert ended(job).status == JobStatus.SUCCEEDED, job.error_detail
    vm.refresh_from_db()
    assert (vm.vcpus, vm.next_run, vm.drift) == (3, {"memory_mib": 1024}, [])
    assert build_spec(vm).vcpus_max == 8


def test_a_policy_that_allows_no_more_leaves_it_for_the_next_run(vm, admin):
    SchedulingPolicy.objects.update(cpu_overcommit=1)
    Cluster.objects.update(policy=SchedulingPolicy.objects.first())
    _vm, job = services.edit(admin, vm, {"vcpus": 8})
    assert ended(job).status == JobStatus.FAILED and "vCPUs left" in job.error
    vm.refresh_from_db()
    assert (vm.vcpus, vm.next_run) == (1, {"vcpus": 8})


def test_one_that_ended_meanwhile_starts_with_them(vm, admin):
    _vm, job = services.edit(admin, vm, {"vcpus": 3})
    domains.destroy(link_of(vm.host), str(vm.pk))
    assert ended(job).status == JobStatus.FAILED and "next time" in job.error
    vm.refresh_from_db()
    assert vm.next_run == {"vcpus": 3}


def test_what_is_not_asked_for_any_more_is_not_done(vm, admin):
    _vm, job = services.edit(admin, vm, {"vcpus": 3})
    VM.objects.filter(pk=vm.pk).update(next_run={})
    assert ended(job).status == JobStatus.FAILED
    vm.refresh_from_db()
    assert vm.vcpus == 1
