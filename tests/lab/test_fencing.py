"""Real hosts are switched off and on by Debian's fence_redfish, and fenced when they fall silent."""

import os
import signal
from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Event
from hosts import observe, ssh
from hosts.connect import forget
from hosts.models import Host, HostStatus
from hosts.power import agents, fencing, guests, services, storage, switch
from hosts.power.models import HostPower, PowerState
from hosts.power.policy import Decision
from hypervisor.links import links
from jobs.models import Job, JobStatus
from lab import namespaces
from lab.bmc import Bmc
from tests.build import make_host
from tests.lab.test_evacuation import fill
from tests.lab.test_hosts_ssh import PORT, server, sshd  # noqa: F401  fixtures
from tests.waiting import until
from vms import observe as vms_observe
from vms.models import VM, VmStatus


@pytest.fixture
def powered(registered):
    """The lab's hosts with their power service and an agent each; nobody waits a minute."""
    bmc = Bmc(registered.lab)
    bmc.start()
    for host in registered.hosts:
        services.add_agent(registered.admin, host, "fence_redfish", bmc.access().options(host.name))
    registered.cluster.fence_after_seconds = 5
    registered.cluster.save()
    yield registered
    bmc.stop()


def falls_silent(host: Host) -> Host:
    """As the watcher notes it, some time ago."""
    observe.lost(host, "it does not answer")
    vms_observe.host_lost(host)
    Host.objects.filter(pk=host.pk).update(status_since=timezone.now() - timedelta(seconds=10))
    host.refresh_from_db()
    return host


def fence(powered, host: Host) -> Job:
    fencing.sweep()
    return powered.run(Job.objects.get(kind="host.fence", object_id=host.pk))


def guest_of(powered, host: Host) -> VM:
    fill(powered, host, 1)
    vm = VM.objects.get(host=host)
    assert guests.answering(host) == 1, "its QEMU greets"
    return vm


def test_agent_says_off_and_on_as_the_host_is(powered):
    host = powered.hosts[0]
    node = powered.lab.node(host.name)
    Host.objects.filter(pk=host.pk).update(status=HostStatus.MAINTENANCE)
    host.refresh_from_db()
    assert powered.run(services.switch(powered.admin, host, "power_status")).status == JobStatus.SUCCEEDED
    assert HostPower.objects.get(host=host).state == PowerState.ON
    job = powered.run(services.switch(powered.admin, host, "power_off"))
    assert job.status == JobStatus.SUCCEEDED, job.error_detail
    assert namespaces.pids_in(node.wiring.netns) == []
    assert HostPower.objects.get(host=host).state == PowerState.OFF
    assert powered.run(services.switch(powered.admin, host, "power_on")).status == JobStatus.SUCCEEDED
    until(node.is_alive, 30, "the host to boot")
    row = host.power_agents.get()
    refused = agents.run(agents.Call(row.agent, row.options, {"password": "wrong"}), "off")
    assert not refused.ok and node.is_alive()


def test_killed_host_is_fenced_and_its_vms_are_down(powered):
    host = powered.hosts[0]
    node, vm = powered.lab.node(host.name), guest_of(powered, host)
    node.kill()
    job = fence(powered, falls_silent(host))
    assert job.status == JobStatus.SUCCEEDED, job.error_detail
    vm.refresh_from_db()
    host.refresh_from_db()
    assert (host.status, vm.status) == (HostStatus.DOWN, VmStatus.DOWN)
    until(node.is_alive, 30, "the host to boot again, as its cluster wants")


def test_host_whose_libvirtd_alone_died_is_not_fenced(powered):
    host = powered.hosts[0]
    node, vm = powered.lab.node(host.name), guest_of(powered, host)
    os.kill(node.libvirtd_pid(), signal.SIGKILL)
    falls_silent(host)
    fencing.sweep()
    assert not Job.objects.filter(kind="host.fence").exists()
    power = HostPower.objects.get(host=host)
    assert (power.decision, "1 of its guests" in power.decision_reason) == (Decision.GUESTS, True)
    assert Event.objects.filter(kind="host.not_fenced", object_id=host.pk).count() == 1
    vm.refresh_from_db()
    assert vm.status == VmStatus.UNKNOWN
    assert namespaces.find(node.wiring.netns, "qemu-system-x86") or namespaces.find(node.wiring.netns, "qemu-system-x8"), "it runs on"


def test_host_that_no_agent_can_switch_off_stays_silent_and_its_vms_unknown(powered):
    host = powered.hosts[0]
    vm = guest_of(powered, host)
    powered.lab.cut_host(host.name)
    Bmc(powered.lab).stop()
    job = fence(powered, falls_silent(host))
    vm.refresh_from_db()
    host.refresh_from_db()
    assert (job.status, host.status, vm.status) == (JobStatus.FAILED, HostStatus.NON_RESPONSIVE, VmStatus.UNKNOWN)
    assert HostPower.objects.get(host=host).failures == 1
    assert Event.objects.filter(kind="host.fence_failed", severity="error").exists()


def test_host_that_is_cut_off_is_switched_off_before_its_vms_are_down(powered):
    host = powered.hosts[0]
    node, vm = powered.lab.node(host.name), guest_of(powered, host)
    before = set(namespaces.pids_in(node.wiring.netns))
    powered.lab.cut_host(host.name)
    job = fence(powered, falls_silent(host))
    assert job.status == JobStatus.SUCCEEDED, job.error_detail
    vm.refresh_from_db()
    assert vm.status == VmStatus.DOWN
    assert not any(namespaces.command_of(pid) for pid in before), "nothing of what ran there lives"


def test_disks_that_a_silent_hosts_guests_write_to_are_seen_through_another_host(powered):
    host = powered.hosts[0]
    vm = guest_of(powered, host)
    file = next(powered.lab.shared.glob(f"{vm.attachments.get(device='disk').disk_id}*"))
    assert storage.written(host, pause=lambda _seconds: os.utime(file)) == [vm.name]
    os.kill(powered.lab.node(host.name).libvirtd_pid(), signal.SIGSTOP)
    assert storage.written(host, pause=lambda _seconds: os.utime(file)) == [vm.name], "asked of the other host, not of the silent one"


def test_off_is_safe_to_repeat(powered):
    host = powered.hosts[1]
    assert switch.off(host).ok
    assert switch.off(host).ok
    forget(host)
    links.close()


def test_another_host_runs_the_agents_by_ssh_if_its_key_is_the_pinned_one(powered, server):  # noqa: F811
    server.start("first")
    server.admit(ssh.public_key())
    address = server.node.address
    helper = make_host(
        cluster=powered.cluster, transport="ssh", address=address, port=PORT, ssh_user="root", ssh_host_keys=ssh.scan(address, PORT)
    )
    host = powered.hosts[0]
    services.configure(powered.admin, host, True, helper)
    seen = switch.status(host)
    assert (seen.ok, seen.state) == (True, PowerState.ON), seen.words
    server.start("second")
    refused = switch.status(host)
    assert (refused.ok, refused.state) == (False, PowerState.UNKNOWN), "another machine at that address learns no password"
