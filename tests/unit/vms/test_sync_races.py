"""What jobs do while a host's list of domains is being read, and what virsh changes in definitions."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Event
from hypervisor.domain_state import DomainState
from hypervisor.domain_xml import to_xml
from hypervisor.domains import DomainRecord
from hypervisor.events import DomainEvent
from hypervisor.guests import AgentInfo
from jobs.models import Job, JobStatus
from portal.errors import NotPossible
from tests.build import make_host, make_user, make_vm
from vms import drift, observe, services
from vms.models import VM, VmOrigin, VmStatus
from vms.spec import build_spec

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    return make_host(name="node1")


def record(vm, xml="", state=DomainState.SHUTOFF, persistent=True):
    return DomainRecord(str(vm.pk), vm.name, state, "", persistent, xml or to_xml(build_spec(vm)), False, False)


def ended_job(vm, at):
    job = Job.objects.create(kind="vm.start", title="Run", object_type="vm", object_id=vm.pk, status=JobStatus.SUCCEEDED)
    Job.objects.filter(pk=job.pk).update(finished_at=at)


def test_a_vm_that_a_job_started_after_the_list_was_read_is_not_missing(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    listed_at = timezone.now()
    ended_job(vm, listed_at + timedelta(milliseconds=5))
    observe.sync_host(host, [], listed_at)
    assert VM.objects.get(pk=vm.pk).status == VmStatus.UP
    observe.sync_host(host, [], listed_at + timedelta(seconds=1))
    assert VM.objects.get(pk=vm.pk).status == VmStatus.DOWN


def test_the_domain_of_a_vm_that_was_just_removed_is_not_adopted_from_an_old_list(host):
    vm = make_vm(host=host)
    old = record(vm)
    listed_at = timezone.now()
    ended_job(vm, listed_at)
    vm.delete()
    observe.sync_host(host, [old], listed_at)
    assert not VM.objects.exists()
    observe.sync_host(host, [old], listed_at + timedelta(seconds=observe.SETTLED_SECONDS + 1))
    assert VM.objects.get().origin == VmOrigin.ADOPTED, "what really stays behind must show"


def test_an_agents_answer_that_comes_late_does_not_bring_a_stopped_vm_back(host):
    vm = make_vm(host=host, status=VmStatus.DOWN)
    observe.agent_seen(vm.pk, AgentInfo(hostname="tiny", os="Linux", addresses=("192.0.2.1",)))
    vm.refresh_from_db()
    assert (vm.status, vm.guest_hostname) == (VmStatus.DOWN, "")


def test_a_stop_that_is_seen_before_the_shutdown_was_noted_stays(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    VM.objects.filter(pk=vm.pk).update(status=VmStatus.DOWN)
    observe.powering_down(vm)
    assert VM.objects.get(pk=vm.pk).status == VmStatus.DOWN


def test_a_quiet_sweep_writes_nothing(host, django_assert_num_queries):
    for _ in range(3):
        make_vm(host=host)
    records = [record(vm) for vm in VM.objects.all()]
    observe.sync_host(host, records)
    with django_assert_num_queries(2):
        observe.sync_host(host, records)


def changed(vm, **fields):
    return to_xml(replace(build_spec(vm), **fields))


def test_what_virsh_changed_shows_field_by_field_until_it_is_put_back(host):
    vm = make_vm(host=host, memory_mib=128, vcpus=1)
    observe.sync_host(host, [record(vm)])
    vm.refresh_from_db()
    assert vm.drift == []
    foreign = changed(vm, memory_mib=256, vcpus=2)
    for _ in range(2):
        observe.sync_host(host, [record(vm, foreign)])
    vm.refresh_from_db()
    assert {entry["field"]: (entry["wanted"], entry["found"]) for entry in vm.drift} == {"memory_mib": ("128", "256"), "vcpus": ("1", "2")}
    assert Event.objects.filter(kind="vm.drift", object_id=vm.pk).count() == 1
    observe.sync_host(host, [record(vm)])
    vm.refresh_from_db()
    assert vm.drift == []


def test_a_change_that_a_job_just_made_is_no_drift(host):
    vm = make_vm(host=host, memory_mib=128)
    old = record(vm)
    listed_at = timezone.now()
    VM.objects.filter(pk=vm.pk).update(memory_mib=512)
    ended_job(vm, listed_at + timedelta(milliseconds=5))
    observe.sync_host(host, [old], listed_at)
    assert VM.objects.get(pk=vm.pk).drift == []


def test_a_transient_domain_and_the_other_parts_of_an_adopted_one_are_no_drift(host):
    ours, adopted = make_vm(host=host), make_vm(host=host, origin=VmOrigin.ADOPTED)
    observe.sync_host(host, [record(ours, changed(ours, memory_mib=999), persistent=False), record(adopted, changed(adopted, video="vga"))])
    assert [vm.drift for vm in VM.objects.all()] == [[], []]


def test_accepted_drift_is_what_is_asked_for_from_then_on(host):
    user = make_user(role="SuperUser")
    vm = make_vm(host=host, memory_mib=128)
    foreign = changed(vm, memory_mib=256)
    observe.sync_host(host, [record(vm, foreign)])
    services.accept_drift(user, VM.objects.get(pk=vm.pk))
    observe.sync_host(host, [record(vm, foreign)])
    vm.refresh_from_db()
    assert (vm.memory_mib, vm.drift) == (256, [])


def test_drift_that_vireo_cannot_take_over_stays_and_is_named(host):
    user = make_user(role="SuperUser")
    vm = make_vm(host=host, memory_mib=128)
    observe.sync_host(host, [record(vm, changed(vm, memory_mib=256, video="vga"))])
    accepted = services.accept_drift(user, VM.objects.get(pk=vm.pk))
    assert accepted.memory_mib == 256
    assert [entry["field"] for entry in accepted.drift] == ["video"]
    with pytest.raises(NotPossible, match="video"):
        services.accept_drift(user, accepted)


def test_a_full_disk_is_told_from_a_broken_one_by_reading_the_domain(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    event = DomainEvent(str(vm.pk), vm.name, "suspended", "ioerror", timezone.now())
    assert observe.on_domain_event(host, event) is True
    observe.sync_host(host, [replace(record(vm), state=DomainState.PAUSED, reason="no space")])
    vm.refresh_from_db()
    assert (vm.status, vm.status_reason) == (VmStatus.PAUSED, "no space left on the storage domain")


def test_many_domains_are_compared_a_few_at_a_time(host, monkeypatch):
    monkeypatch.setattr(drift, "BATCH", 2)
    vms = [make_vm(host=host, memory_mib=128) for _ in range(5)]
    observe.sync_host(host, [record(vm, changed(vm, memory_mib=256)) for vm in vms])
    assert [len(vm.drift) for vm in VM.objects.all()] == [1] * 5
