"""A running VM moves between two real hosts: it goes on running, at exactly one of them, whatever happens on the way."""

import threading
import time

import pytest

from hosts.connect import link_of
from hosts.models import Cluster, MigrationPolicy
from hypervisor import domains, migration
from hypervisor.domain_state import DomainState
from jobs.models import Job, JobStatus
from portal.errors import NotPossible
from tests.waiting import until
from vms import services
from vms.migration.services import migrate
from vms.models import VM, VmStatus
from vms.services import NewVm


@pytest.fixture
def running(registered):
    """A guest whose disk lies where both hosts see it."""
    new = NewVm(
        name="web-01", cluster=registered.cluster, template=registered.template, memory_mib=128, storage_domain=registered.shared, start=True
    )
    vm, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    return loaded(vm)


def loaded(vm):
    return VM.objects.select_related("host", "cluster").get(pk=vm.pk)


def where(registered, vm) -> list[str]:
    """Names of the hosts on which it executes."""
    found = []
    for host in registered.hosts:
        for record in domains.list_domains(link_of(host)):
            if record.uuid == str(vm.pk) and record.state == DomainState.RUNNING:
                found.append(host.name)
    return found


def other(registered, host):
    return next(each for each in registered.hosts if each != host)


def has_clipboard(host, vm) -> bool:
    return "qemu-vdagent" in link_of(host).call(lambda connection: connection.lookupByUUIDString(str(vm.pk)).XMLDesc(0))


def test_it_moves_and_back_with_its_definition_and_without_a_restart(registered, running):
    first = running.host
    started = running.started_at
    for target in (other(registered, first), first):
        job = registered.run(migrate(registered.admin, loaded(running)))
        assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
        assert job.facts["done"]["elapsed_ms"] > 0 and job.facts["done"]["done"] > 0
        vm = loaded(running)
        assert vm.host == target and vm.status in (VmStatus.UP, VmStatus.POWERING_UP) and vm.started_at == started
        assert where(registered, vm) == [target.name]
        assert [record.uuid for record in domains.list_domains(link_of(other(registered, target)))] == []
        assert has_clipboard(target, vm)
    decision = vm.decisions.first()
    assert {verdict["reason"] for verdict in decision.verdicts if verdict["refused_by"]} == {"it runs there"}


def test_cancelled_on_the_way_it_stays_and_runs(registered, running):
    job = migrate(registered.admin, running, options=migration.MigrationOptions(bandwidth_mib=1))
    thread = threading.Thread(target=registered.run, args=(job,))
    thread.start()
    link, uuid = link_of(running.host), str(running.pk)
    until(lambda: migration.progress_of(link, uuid) is not None, 20, "the migration to begin")
    Job.objects.filter(pk=job.pk).update(cancel_requested=True)
    thread.join(60)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED, (job.status, job.error)
    assert where(registered, running) == [running.host.name]
    vm = loaded(running)
    assert vm.host == running.host and vm.status == VmStatus.UP


def test_one_that_takes_too_long_goes_on_at_the_target_and_fetches_the_rest(registered, running):
    """As its cluster's policy says. At 1 MiB a second its memory would take minutes."""
    target = other(registered, running.host)
    policy = MigrationPolicy.objects.create(name="Slow", bandwidth_mib=1, post_copy=True, post_copy_after_s=3)
    Cluster.objects.filter(pk=registered.cluster.pk).update(migration_policy=policy)
    begun = time.monotonic()
    job = registered.run(migrate(registered.admin, loaded(running)))
    took = time.monotonic() - begun
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert took < 20, took
    assert where(registered, running) == [target.name] and loaded(running).host == target
    assert loaded(running).status in (VmStatus.UP, VmStatus.POWERING_UP)


def test_a_worker_that_finds_it_on_its_way_waits_for_it(registered, running):
    """As after the death of the worker that began it: libvirt goes on by itself."""
    source, target = running.host, other(registered, running.host)
    link, uuid = link_of(source), str(running.pk)
    job = migrate(registered.admin, running)
    Job.objects.filter(pk=job.pk).update(facts={"source": str(source.pk), "target": str(target.pk)})
    slow = migration.MigrationOptions(bandwidth_mib=8)
    migration.take_clipboard(link, uuid)
    begun = threading.Thread(
        target=migration.migrate, args=(link, uuid, f"qemu+tls://{target.address}/system", f"tcp://{target.address}", slow, lambda seen: None)
    )
    begun.start()
    until(lambda: migration.progress_of(link, uuid) is not None, 20, "the migration to begin")
    job.refresh_from_db()
    job = registered.run(job)
    begun.join(60)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert "on its way already" in " ".join(job.log_lines.values_list("text", flat=True))
    assert where(registered, running) == [target.name] and loaded(running).host == target


def test_a_target_that_died_takes_nothing_and_it_runs_on(registered, running):
    target = other(registered, running.host)
    registered.lab.kill_host(target.name)
    job = registered.run(migrate(registered.admin, running, target))
    assert job.status == JobStatus.FAILED and "runs on" in job.error, job.error
    assert domains.state(link_of(running.host), str(running.pk))[0] == DomainState.RUNNING
    vm = loaded(running)
    assert vm.host == running.host and vm.status in (VmStatus.UP, VmStatus.POWERING_UP)


def test_a_vm_with_a_disk_on_its_host_alone_is_refused_with_the_reason(registered):
    new = NewVm(name="local-01", cluster=registered.cluster, template=registered.template, memory_mib=128, storage_domain=registered.local, start=True)
    vm, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    with pytest.raises(NotPossible, match="lies on node. alone"):
        migrate(registered.admin, loaded(vm))
