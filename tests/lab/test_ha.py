"""Highly available VMs on two real hosts: after the death of a host, of QEMU, and behind a cut network; each runs exactly once."""

import os
import signal
from pathlib import Path

import pytest

from hosts import observe as hosts_observe
from hosts.connect import forget, link_of
from hosts.models import Host, HostStatus
from hypervisor import capabilities
from hypervisor.domain_state import DomainState
from hypervisor.domains import list_domains
from hypervisor.domains import state as state_of
from jobs.models import Job, JobStatus
from lab import namespaces
from storage import domains
from tests.lab.test_every_step import changed, twice
from tests.waiting import until
from vms import observe, services
from vms.ha import leftovers, restarts
from vms.ha.fenced import host_is_off
from vms.models import VM, Restart, VmStatus
from vms.services import NewVm


@pytest.fixture
def vm(registered):
    """Runs on node2, on the shared directory."""
    new = NewVm(
        name="db",
        cluster=registered.cluster,
        template=registered.template,
        memory_mib=96,
        storage_domain=registered.shared,
        host=registered.hosts[1],
        start=True,
    )
    made, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    job = domains.try_locks(registered.admin, registered.shared)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    made.refresh_from_db()
    services.edit(registered.admin, made, {"highly_available": True, "restart_by_lease": True})
    return VM.objects.get(pk=made.pk)


def qemus(lab, vm):
    """(host's name, pid) of each QEMU of this VM that lives, whatever libvirt says."""
    return [(node.name, pid) for node in lab.nodes() for pid in namespaces.pids_in(node.wiring.netns) if _is_qemu_of(pid, vm)]


def _is_qemu_of(pid, vm):
    if not namespaces.command_of(pid).startswith("qemu"):
        return False
    return str(vm.pk) in Path(f"/proc/{pid}/cmdline").read_text()


def processes(lab, vm):
    return [name for name, _pid in qemus(lab, vm)]


def lost(host):
    """As the watcher writes it."""
    host.refresh_from_db()
    hosts_observe.lost(host, "the network is cut")
    observe.host_lost(host)
    forget(host)


def off(host, how):
    Host.objects.filter(pk=host.pk).update(status=HostStatus.DOWN)
    host.refresh_from_db()
    host_is_off(host, how)


def run_due(registered):
    return [registered.run(job) for job in restarts.sweep()]


def test_after_its_host_died_it_runs_elsewhere_once_and_the_host_returns_to_nothing(registered, healthy_lab, vm):
    home, other = registered.hosts[1], registered.hosts[0]
    healthy_lab.kill_host(home.name)
    lost(home)
    assert run_due(registered) == [], "nobody knows yet that it is off"
    off(home, f"{home.name} was switched off")
    (job,) = run_due(registered)
    assert job.status == JobStatus.SUCCEEDED, job.error
    vm.refresh_from_db()
    assert (vm.host, vm.status) == (other, VmStatus.POWERING_UP)
    assert processes(healthy_lab, vm) == [other.name]
    assert not Restart.objects.exists()
    # The host comes back with its old definition.
    healthy_lab.heal_host(home.name)
    forget(home)
    assert hosts_observe.seen(home, capabilities.read(link_of(home)))
    records = list_domains(link_of(home))
    assert [record.uuid for record in records] == [str(vm.pk)]
    observe.sync_host(home, records)
    leftovers.tidy(home, records)
    (tidy,) = Job.objects.filter(kind="vm.tidy")
    assert registered.run(tidy).status == JobStatus.SUCCEEDED, tidy.error
    assert list_domains(link_of(home)) == []
    vm.refresh_from_db()
    assert vm.host == other
    assert processes(healthy_lab, vm) == [other.name]


def test_a_crash_of_its_qemu_starts_it_again(registered, healthy_lab, vm):
    home = registered.hosts[1]
    ((_name, pid),) = qemus(healthy_lab, vm)
    os.kill(pid, signal.SIGKILL)
    until(lambda: state_of(link_of(home), str(vm.pk))[0] == DomainState.SHUTOFF, 20, "libvirtd to see that it is gone")
    observe.sync_host(home, list_domains(link_of(home)))
    assert Restart.objects.get(vm=vm).cause == "QEMU crashed"
    (job,) = run_due(registered)
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert processes(healthy_lab, vm) == [home.name]


def test_behind_a_cut_network_its_locks_keep_it_from_running_twice(registered, healthy_lab, vm, settings):
    """Nobody can fence the host: its guests run on, and the locks of their disks say so."""
    home, other = registered.hosts[1], registered.hosts[0]
    settings.HA_LEASE_SECONDS = 0
    healthy_lab.cut_host(home.name)
    lost(home)
    (job,) = run_due(registered)
    assert job.status == JobStatus.FAILED
    assert "still runs on" in job.error
    vm.refresh_from_db()
    assert (vm.status, vm.host) == (VmStatus.UNKNOWN, home), "its row stays with its host"
    assert processes(healthy_lab, vm) == [home.name]
    assert list_domains(link_of(other)) == [], "and nothing is left where it was tried"
    # Once its QEMU is gone, however, the locks are free.
    ((_name, pid),) = qemus(healthy_lab, vm)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not processes(healthy_lab, vm), 10, "its QEMU to be gone")
    Restart.objects.update(not_before=job.created_at)
    (job,) = run_due(registered)
    assert job.status == JobStatus.SUCCEEDED, job.error
    vm.refresh_from_db()
    assert vm.host == other
    assert processes(healthy_lab, vm) == [other.name]


def test_a_person_who_is_wrong_about_a_host_does_no_harm(registered, healthy_lab, vm):
    """The host is said to be off and is not: the locks of the disks refuse the second start."""
    home, other = registered.hosts[1], registered.hosts[0]
    healthy_lab.cut_host(home.name)
    lost(home)
    off(home, f"somebody said that {home.name} was restarted")
    (job,) = run_due(registered)
    assert job.status == JobStatus.FAILED
    assert processes(healthy_lab, vm) == [home.name]
    healthy_lab.heal_host(home.name)
    forget(home)
    assert hosts_observe.seen(home, capabilities.read(link_of(home)))
    observe.sync_host(home, list_domains(link_of(home)))
    observe.sync_host(other, list_domains(link_of(other)))
    vm.refresh_from_db()
    assert (vm.host, vm.status) == (home, VmStatus.UP)
    restarts.sweep()
    assert not Restart.objects.exists()
    assert processes(healthy_lab, vm) == [home.name]


def test_a_restart_that_is_done_twice_starts_it_once(registered, healthy_lab, vm, settings):
    """A worker that dies after the start is followed by another that does it again."""
    home, other = registered.hosts[1], registered.hosts[0]
    settings.HA_LEASE_SECONDS = 0
    healthy_lab.kill_host(home.name)
    lost(home)
    with changed(restarts.KIND, twice):
        (job,) = run_due(registered)
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert processes(healthy_lab, vm) == [other.name]


def test_locks_are_proven_by_trying_and_nothing_is_left_of_it(registered):
    job = registered.run(domains.try_locks(registered.admin, registered.shared))
    assert job.status == JobStatus.SUCCEEDED, job.error
    registered.shared.refresh_from_db()
    assert registered.shared.locks_hold is True
    assert not list(registered.lab.shared.glob("vireo-locks-*"))
    assert all(list_domains(link_of(host)) == [] for host in registered.hosts)
