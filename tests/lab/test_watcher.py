"""The watcher as a process, on real hosts: what happens there reaches the rows, and one bad host troubles nobody else."""

import uuid

import libvirt
import pytest

from hosts.models import Host, HostStatus, WatchLease
from metrics import live
from tests.lab.test_vm_jobs import create
from tests.processes import watcher
from tests.waiting import until
from vms.models import VM, VmOrigin, VmStatus

FOREIGN = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><graphics type='vnc' autoport='yes'/></devices></domain>"""


@pytest.fixture
def watched(registered):
    with watcher(VIREO_SWEEP_SECONDS="3"):
        until(lambda: WatchLease.objects.count() == 2, 20, "the watcher to lease both hosts")
        yield registered


def status(vm):
    return VM.objects.values_list("status", flat=True).get(pk=vm.pk)


def virsh(host, lab):
    return libvirt.open(lab.node(host.name).uri)


def test_what_virsh_does_reaches_the_row(watched):
    vm = create(watched)
    connection = virsh(vm.host, watched.lab)
    domain = connection.lookupByUUIDString(str(vm.pk))
    domain.create()
    until(lambda: status(vm) in (VmStatus.POWERING_UP, VmStatus.UP), 10, "the started domain to show")
    until(lambda: status(vm) == VmStatus.UP, 40, "its guest to be up")
    domain.suspend()
    until(lambda: status(vm) == VmStatus.PAUSED, 10, "the paused domain to show")
    domain.destroy()
    until(lambda: status(vm) == VmStatus.DOWN, 10, "the destroyed domain to show")
    domain.undefine()
    reason = until(lambda: VM.objects.get(pk=vm.pk).status_reason, 15, "the undefined domain to show with its reason")
    assert "removed on" in reason
    connection.close()


def test_a_domain_defined_with_virsh_is_adopted_and_leaves_when_it_is_undefined(watched):
    key = str(uuid.uuid4())
    connection = virsh(watched.hosts[0], watched.lab)
    domain = connection.defineXML(FOREIGN.format(name="made-by-hand", uuid=key))
    until(lambda: VM.objects.filter(pk=key, origin=VmOrigin.ADOPTED).exists(), 15, "the domain to be adopted")
    assert VM.objects.get(pk=key).memory_mib == 64
    domain.undefine()
    until(lambda: not VM.objects.filter(pk=key).exists(), 15, "the adopted VM to leave")
    connection.close()


def test_numbers_flow_for_a_running_vm(watched):
    vm = create(watched, start=True)
    values = until(lambda: live.latest([f"vm:{vm.pk}"]).get(f"vm:{vm.pk}"), 20, "the VM's live values")
    assert values["cpu_percent"] >= 0
    assert live.latest([f"host:{vm.host_id}"])


def test_a_host_that_never_answers_turns_non_responsive_and_delays_nobody(watched):
    vm = create(watched, start=True)
    other = next(host for host in watched.hosts if host.pk != vm.host_id)
    until(lambda: live.latest([f"host:{other.pk}"]), 20, "numbers of the other host")
    watched.lab.freeze_libvirtd(vm.host.name)
    until(lambda: Host.objects.get(pk=vm.host_id).status == HostStatus.NON_RESPONSIVE, 40, "the frozen host to be non_responsive")
    assert status(vm) == VmStatus.UNKNOWN
    at = live.latest([f"host:{other.pk}"])[f"host:{other.pk}"]["at"]
    until(lambda: live.latest([f"host:{other.pk}"])[f"host:{other.pk}"]["at"] > at, 8, "numbers of the other host to go on")
    assert Host.objects.get(pk=other.pk).status == HostStatus.UP
    watched.lab.thaw_libvirtd(vm.host.name)
    until(lambda: Host.objects.get(pk=vm.host_id).status == HostStatus.UP, 40, "the thawed host to be up")
    until(lambda: status(vm) in (VmStatus.UP, VmStatus.POWERING_UP), 20, "its VM to be known again")


def test_a_second_watcher_takes_over_within_ten_seconds_of_the_firsts_death(registered):
    with watcher() as first:
        until(lambda: WatchLease.objects.count() == 2, 20, "the first to lease both")
        before = set(WatchLease.objects.values_list("watcher", flat=True))
        with watcher():
            until(lambda: WatchLease.objects.values("watcher").distinct().count() == 2, 30, "two watchers to share the hosts")
            survivor = (set(WatchLease.objects.values_list("watcher", flat=True)) - before).pop()
            first.kill()
            until(lambda: set(WatchLease.objects.values_list("watcher", flat=True)) == {survivor}, 10, "the second to hold both")
