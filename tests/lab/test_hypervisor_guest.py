"""One guest on a real host: everything that hypervisor/ does to it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hypervisor import capabilities, domains, networks, stats, storage
from hypervisor.address import HostAddress
from hypervisor.domain_devices import disk_xml, nic_xml
from hypervisor.domain_xml import amend_xml, drift, from_xml, to_xml
from hypervisor.domains import DomainState
from hypervisor.errors import AgentUnresponsive, AlreadyExists, Busy, HypervisorError, InvalidState, NotFound
from hypervisor.events import DomainEvent, HostObserver
from hypervisor.links import HostLink
from hypervisor.serial import SerialSession
from hypervisor.spec import DiskSpec, DomainSpec, GraphicsSpec, Metadata, NetworkSpec, NicSpec, PoolSpec, VolumeSpec
from lab.cluster import Lab
from lab.guest import GuestImage
from tests.waiting import until

UUID = "6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c21"
POOL = PoolSpec("hypervisor-tests", "/var/lib/vireo/local/hypervisor-tests")
NETWORK = NetworkSpec("hypervisor-tests", bridge="vhyp0", address="192.168.77.1/24", dhcp_start="192.168.77.10", dhcp_end="192.168.77.90")
MIB = 1024 * 1024


@dataclass
class Running:
    """A guest whose agent answered."""

    link: HostLink
    spec: DomainSpec
    events: list[object]
    serial: bytearray

    def kinds(self) -> list[tuple[str, str]]:
        return [(event.kind, event.detail) for event in self.events if isinstance(event, DomainEvent) and event.uuid == self.spec.uuid]


@pytest.fixture(scope="module")
def link(lab: Lab) -> Iterator[HostLink]:
    made = HostLink(HostAddress.tls(lab.node("node1").address, str(lab.ca.client_dir())))
    yield made
    made.close()


@pytest.fixture(scope="module")
def template(link: HostLink, guest: GuestImage) -> Iterator[str]:
    """Path of the guest's disk on the host, put there by upload."""
    storage.ensure_pool(link, POOL)
    size = guest.disk.stat().st_size
    storage.create_volume(link, POOL.name, VolumeSpec("template.qcow2", size, "raw"))
    told: list[tuple[int, int]] = []
    with guest.disk.open("rb") as file:
        storage.upload(link, POOL.name, "template.qcow2", file, size, lambda done, total: told.append((done, total)))
    assert told[-1] == (size, size)
    storage.refresh_pool(link, POOL.name)
    info = storage.volume_info(link, POOL.name, "template.qcow2")
    assert (info.format, info.capacity) == ("qcow2", 64 * MIB)
    yield info.path
    for volume in storage.list_volumes(link, POOL.name):
        storage.delete_volume(link, POOL.name, volume.name)
    link.call(
        lambda connection: (
            connection.storagePoolLookupByName(POOL.name).destroy(),
            connection.storagePoolLookupByName(POOL.name).undefine(),
        )
    )


@pytest.fixture(scope="module")
def vm(link: HostLink, template: str) -> Iterator[Running]:
    networks.ensure_network(link, NETWORK)
    disk = storage.create_volume(link, POOL.name, VolumeSpec("vm.qcow2", 64 * MIB, backing_path=template))
    spec = DomainSpec(
        uuid=UUID,
        name="hypervisor-tests",
        title="A <title>",
        memory_mib=160,
        memory_max_mib=256,
        vcpus_max=2,
        disks=(DiskSpec(disk, "vda", serial="one"), DiskSpec("", "sda", bus="scsi", device="cdrom", format="raw", readonly=True)),
        nics=(NicSpec("52:54:00:77:00:01", NETWORK.name, alias="nic-1"),),
        graphics=GraphicsSpec("secret12"),
        metadata=Metadata("id-1", "alice", ("a", "b")),
    )
    running = Running(link, spec, [], bytearray())
    observer = HostObserver(link, running.events.append)
    observer.start()
    assert domains.define(link, to_xml(spec)) == UUID
    assert drift(spec, from_xml(domains.get(link, UUID).xml)) == (), "what libvirt fills in is no drift"
    domains.create(link, UUID, paused=True)
    assert domains.state(link, UUID)[0] is DomainState.PAUSED
    serial = SerialSession(link, UUID, running.serial.extend)
    domains.resume(link, UUID)
    until(lambda: b"Vireo" in running.serial, 60, "the banner on the serial console")
    serial.close()
    until(lambda: ("agent", "connected") in running.kinds(), 60, "the guest agent")
    yield running
    observer.close()
    if domains.state(link, UUID)[0] is not DomainState.SHUTOFF:
        domains.destroy(link, UUID)
    domains.undefine(link, UUID)
    networks.remove_network(link, NETWORK.name)


def test_capabilities_of_a_real_host(link: HostLink, lab: Lab) -> None:
    facts = capabilities.read(link)
    assert (facts.hostname, facts.driver, facts.libvirt_version[:2], facts.arch) == ("node1", "QEMU", "9.", "x86_64")
    assert "qemu" in facts.domain_types and "pc-q35-7.2" in facts.machines
    assert facts.memory_bytes == int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert facts.cpus >= 1 and facts.uuid
    assert capabilities.supports(facts, "console")


def test_its_start_was_heard_in_order(vm: Running) -> None:
    kinds = [kind for kind, _ in vm.kinds()]
    assert kinds.index("defined") < kinds.index("started") < kinds.index("resumed")


def test_an_event_comes_within_a_tenth_of_a_second(vm: Running) -> None:
    heard = threading.Event()
    observer = HostObserver(vm.link, lambda event: isinstance(event, DomainEvent) and event.kind == "suspended" and heard.set())
    observer.start()
    began = time.monotonic()
    domains.suspend(vm.link, UUID)
    assert heard.wait(5)
    assert time.monotonic() - began < 0.5
    assert domains.state(vm.link, UUID) == (DomainState.PAUSED, "user")
    domains.resume(vm.link, UUID)
    observer.close()


def test_the_agent_tells_name_and_addresses(vm: Running) -> None:
    info = until(lambda: (found := domains.agent_info(vm.link, UUID)).addresses and found, 30, "an address by DHCP")
    assert info.addresses[0].startswith("192.168.77.")
    leases = networks.dhcp_leases(vm.link, NETWORK.name)
    assert [(lease.mac, lease.address) for lease in leases] == [("52:54:00:77:00:01", info.addresses[0])]


def test_statistics_move(vm: Running) -> None:
    host, (first,) = stats.sample(vm.link)
    assert host and host.memory_total and host.cpu_idle_ns

    def later() -> stats.DomainSample | None:
        _, (now,) = stats.sample(vm.link)
        return now if (now.cpu_ns or 0) > (first.cpu_ns or 0) else None

    second = until(later, 20, "CPU time to pass")
    assert (second.state, second.vcpus) == (DomainState.RUNNING, 1)
    assert second.disk_rd_bytes and second.net_rx_bytes is not None and second.memory_bytes and second.memory_bytes > 16 * MIB
    rates = stats.rates(first, second)
    assert rates.cpu_percent is not None and 0 < rates.cpu_percent <= 100
    until(lambda: stats.rates(second, stats.sample(vm.link)[1][0]).memory_percent, 20, "the balloon's statistics")


def test_the_display_listens_on_the_host_with_a_password(vm: Running, lab: Lab) -> None:
    display = domains.display(vm.link, UUID)
    assert (display.kind, display.host_listen, display.password_required) == ("vnc", lab.node("node1").address, True)
    assert display.port >= 5900
    domains.set_graphics_password(vm.link, UUID, "changed1")
    assert "changed1" not in domains.get(vm.link, UUID).xml


def test_a_key_changes_the_screen(vm: Running) -> None:
    mime, before = domains.screenshot(vm.link, UUID)
    assert mime in ("image/png", "image/x-portable-pixmap") and len(before) > 500

    def changed() -> bool:
        domains.send_keys(vm.link, UUID, [28])  # Enter
        return domains.screenshot(vm.link, UUID)[1] != before

    until(changed, 20, "the screen to change", every=0.5)


def test_the_serial_console_echoes_and_has_one_user_unless_taken_over(vm: Running) -> None:
    out, ended = bytearray(), []
    first = SerialSession(vm.link, UUID, out.extend, ended.append)
    with pytest.raises(Busy, match="someone else"):
        SerialSession(vm.link, UUID, out.extend)
    first.write(b"echo $((6*7))x\r")
    until(lambda: b"42x" in out, 20, "the shell's answer")
    second = SerialSession.take_over(vm.link, UUID, out.extend)
    until(lambda: ended, 5, "the first to be told")
    with pytest.raises(InvalidState):
        first.write(b"x")
    out.clear()
    second.pause_reading()
    second.write(b"echo $((7*7))y\r")
    second.resume_reading()
    until(lambda: b"49y" in out, 20, "the second to be served")
    second.close()
    second.close()
    third: list[SerialSession] = []

    def reopened() -> bool:
        try:
            third.append(SerialSession(vm.link, UUID, out.extend))
        except Busy:
            return False
        return True

    until(reopened, 5, "the console to be free again")
    third[0].close()


def test_media_devices_and_sizes_change_while_it_runs(vm: Running, template: str) -> None:
    storage.create_volume(vm.link, POOL.name, VolumeSpec("cd.iso", MIB, "raw"))
    extra = storage.copy_volume(vm.link, POOL.name, template, VolumeSpec("copy.qcow2", 64 * MIB))
    iso = f"{POOL.path}/cd.iso"
    domains.change_media(vm.link, UUID, "sda", iso)
    assert from_xml(domains.get(vm.link, UUID).xml).disks[1].source == iso
    domains.change_media(vm.link, UUID, "sda", "")
    domains.attach_device(vm.link, UUID, nic_xml(NicSpec("52:54:00:77:00:02", NETWORK.name)))
    domains.attach_device(vm.link, UUID, disk_xml(DiskSpec(extra, "vdb")))
    domains.set_vcpus(vm.link, UUID, 2)
    domains.set_memory(vm.link, UUID, 200)
    domains.set_metadata(vm.link, UUID, Metadata("id-2"))
    found = from_xml(domains.get(vm.link, UUID).xml)
    assert found.metadata == Metadata("id-2")
    assert {each.field for each in drift(vm.spec, found)} == {"disks[vdb]", "nics[52:54:00:77:00:02]", "metadata.vm_id"}
    until(lambda: {kind for kind, _ in vm.kinds()} >= {"device-added", "tray", "metadata"}, 5, "the events of all that")


def test_a_start_that_cannot_be_is_refused_with_the_reason(vm: Running) -> None:
    with pytest.raises(InvalidState):
        domains.create(vm.link, UUID)
    other = replace(vm.spec, uuid=UUID.replace("6f", "7f"))
    with pytest.raises(AlreadyExists, match="hypervisor-tests"):
        domains.define(vm.link, to_xml(other))
    other = replace(other, name="hypervisor-tests-2", nics=())
    domains.define(vm.link, to_xml(other))
    with pytest.raises(Busy):
        domains.create(vm.link, other.uuid)
    domains.undefine(vm.link, other.uuid)


@pytest.mark.parametrize("firmware", ["efi", "efi-secure"])
def test_libvirt_takes_every_firmware_without_drift(link: HostLink, firmware: str) -> None:
    spec = DomainSpec(uuid=UUID.replace("6f", "8f"), name=f"hypervisor-{firmware}", memory_mib=256, firmware=firmware, watchdog="reset")
    domains.define(link, to_xml(spec))
    xml = domains.get(link, spec.uuid).xml
    assert drift(spec, from_xml(xml)) == ()
    assert domains.define(link, amend_xml(xml, replace(spec, memory_mib=300, vcpus_max=4))) == spec.uuid
    assert from_xml(domains.get(link, spec.uuid).xml).vcpus_max == 4
    domains.undefine(link, spec.uuid)


def test_volumes_on_a_real_disk(link: HostLink, template: str) -> None:
    storage.create_volume(link, POOL.name, VolumeSpec("grow.qcow2", MIB))
    with pytest.raises(AlreadyExists):
        storage.create_volume(link, POOL.name, VolumeSpec("grow.qcow2", MIB))
    storage.resize_volume(link, POOL.name, "grow.qcow2", 8 * MIB)
    assert storage.volume_info(link, POOL.name, "grow.qcow2").capacity == 8 * MIB
    for _ in range(2):
        storage.delete_volume(link, POOL.name, "grow.qcow2")
    with pytest.raises(NotFound):
        storage.volume_info(link, POOL.name, "grow.qcow2")
    with pytest.raises(HypervisorError):
        storage.create_volume(link, POOL.name, VolumeSpec("../escape.qcow2", MIB))
    info = storage.pool_info(link, POOL.name)
    assert info.active and info.available > 0


def test_a_copy_whose_progress_says_stop_leaves_nothing(link: HostLink, template: str) -> None:
    class Stop(Exception):
        pass

    def stop(_done: int, _total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        storage.copy_volume(link, POOL.name, template, VolumeSpec("stopped.qcow2", 64 * MIB), stop)

    def gone() -> bool:
        storage.delete_volume(link, POOL.name, "stopped.qcow2")
        return True

    until(gone, 10, "the copy to be gone")


def test_it_powers_off_when_asked_and_runs_once_with_another_definition(vm: Running) -> None:
    domains.shutdown(vm.link, UUID)
    until(lambda: domains.state(vm.link, UUID)[0] is DomainState.SHUTOFF, 30, "the guest to power off")
    until(lambda: ("stopped", "shutdown") in vm.kinds(), 5, "the event")
    with pytest.raises(InvalidState):
        domains.display(vm.link, UUID)
    once = replace(vm.spec, memory_mib=100, memory_max_mib=None)
    domains.create_once(vm.link, to_xml(once), paused=True)
    with pytest.raises(InvalidState):
        domains.agent_info(vm.link, UUID)
    domains.resume(vm.link, UUID)
    with pytest.raises(AgentUnresponsive):
        domains.agent_info(vm.link, UUID)
    domains.destroy(vm.link, UUID)
    assert domains.get(vm.link, UUID).persistent
    assert from_xml(domains.get(vm.link, UUID).xml).memory_mib == vm.spec.memory_mib
