"""The watcher as a process, on real hosts: what happens there reaches the rows, and one bad host troubles nobody else."""

import subprocess
import uuid

import libvirt
import pytest
import redis

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


def test_what_the_guest_says_of_itself_shows(watched):
    vm = create(watched, start=True)
    until(lambda: VM.objects.get(pk=vm.pk).guest_addresses, 60, "the guest's addresses")
    assert VM.objects.get(pk=vm.pk).guest_hostname == "tiny"


def running_by_hand(watched, host):
    """A domain started with virsh, adopted; it has no disk, so it costs nothing."""
    key = str(uuid.uuid4())
    connection = virsh(host, watched.lab)
    domain = connection.defineXML(FOREIGN.format(name=f"on-{host.name}", uuid=key))
    domain.create()
    vm = until(lambda: VM.objects.filter(pk=key, status__in=(VmStatus.UP, VmStatus.POWERING_UP)).first(), 15, "it to be adopted")
    return vm, connection, domain


def numbers_of(host):
    return live.latest([f"host:{host.pk}"]).get(f"host:{host.pk}", {"at": 0.0})["at"]


@pytest.mark.parametrize(("breaks", "heals"), [("freeze_libvirtd", "thaw_libvirtd"), ("cut_host", "heal_host")])
def test_a_host_that_does_not_answer_turns_non_responsive_alone(watched, breaks, heals):
    bad, good = watched.hosts
    lost_vm, lost_connection, _domain = running_by_hand(watched, bad)
    lost_connection.close()
    vm, connection, domain = running_by_hand(watched, good)
    until(lambda: numbers_of(good) and numbers_of(bad), 20, "numbers of both hosts")
    getattr(watched.lab, breaks)(bad.name)

    for verb, becomes in ((domain.suspend, VmStatus.PAUSED), (domain.resume, VmStatus.UP), (domain.suspend, VmStatus.PAUSED)):
        verb()
        until(lambda: status(vm) == becomes, 2, f"the good host's VM to be {becomes} while the other host hangs")
    at = numbers_of(good)
    until(lambda: numbers_of(good) > at, 4, "the good host's numbers to go on while the other host hangs")

    until(lambda: Host.objects.get(pk=bad.pk).status == HostStatus.NON_RESPONSIVE, 30, "the bad host to be non_responsive")
    until(lambda: status(lost_vm) == VmStatus.UNKNOWN, 5, "its VM to be unknown")
    assert (Host.objects.get(pk=good.pk).status, status(vm)) == (HostStatus.UP, VmStatus.PAUSED)
    assert WatchLease.objects.count() == 2, "the watcher kept both leases"

    getattr(watched.lab, heals)(bad.name)
    until(lambda: Host.objects.get(pk=bad.pk).status == HostStatus.UP, 40, "the healed host to be up")
    until(lambda: status(lost_vm) == VmStatus.UP, 20, "its VM to be known again")
    connection.close()


def test_libvirtd_that_restarts_is_heard_again(watched):
    host = watched.hosts[0]
    vm, connection, _domain = running_by_hand(watched, host)
    connection.close()
    watched.lab.stop_libvirtd(host.name)
    until(lambda: status(vm) == VmStatus.UNKNOWN, 20, "the VM of a host without libvirtd to be unknown")
    watched.lab.start_libvirtd(host.name)
    until(lambda: status(vm) == VmStatus.UP, 40, "its VM, which ran on, to be up")
    connection = virsh(host, watched.lab)
    connection.lookupByUUIDString(str(vm.pk)).suspend()
    until(lambda: status(vm) == VmStatus.PAUSED, 5, "events to be heard again")
    connection.close()


def test_a_redis_that_goes_and_comes_back_empty_stops_nothing(registered, tmp_path):
    url, good = f"unix://{tmp_path / 'redis.sock'}", registered.hosts[0]

    def start_redis():
        command = ["redis-server", "--port", "0", "--unixsocket", str(tmp_path / "redis.sock"), "--save", "", "--dir", str(tmp_path)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def numbers():
        try:
            with redis.Redis.from_url(url) as client:
                return len(client.keys("vireo:ring:host:*"))
        except redis.RedisError:
            return 0

    server = start_redis()
    try:
        with watcher(REDIS_URL=url) as process:
            until(lambda: numbers() == 2, 30, "numbers of both hosts")
            server.kill()
            server.wait(10)
            vm, connection, domain = running_by_hand(registered, good)
            domain.suspend()
            until(lambda: status(vm) == VmStatus.PAUSED, 5, "events to reach the rows without Redis")
            connection.close()
            server = start_redis()
            until(lambda: numbers() == 2, 20, "numbers to come again")
            assert process.poll() is None
    finally:
        server.kill()
        server.wait(10)


def test_a_second_watcher_takes_over_within_ten_seconds_of_the_firsts_death(registered):
    with watcher() as first:
        until(lambda: WatchLease.objects.count() == 2, 20, "the first to lease both")
        before = set(WatchLease.objects.values_list("watcher", flat=True))
        with watcher():
            until(lambda: WatchLease.objects.values("watcher").distinct().count() == 2, 30, "two watchers to share the hosts")
            survivor = (set(WatchLease.objects.values_list("watcher", flat=True)) - before).pop()
            first.kill()
            until(lambda: set(WatchLease.objects.values_list("watcher", flat=True)) == {survivor}, 10, "the second to hold both")
