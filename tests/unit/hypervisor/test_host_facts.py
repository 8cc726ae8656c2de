"""Errors, addresses, capabilities, statistics, storage, networks and events, on libvirt's test driver."""

import io
from collections.abc import Iterator
from dataclasses import replace

import libvirt
import pytest

from hypervisor import capabilities, domains, networks, stats, storage
from hypervisor.address import HostAddress
from hypervisor.domain_state import DomainState, words
from hypervisor.domain_xml import to_xml
from hypervisor.errors import (
    AgentUnresponsive,
    AlreadyExists,
    Busy,
    CertificateRefused,
    HostUnreachable,
    HypervisorError,
    InvalidState,
    NoSpace,
    NotFound,
    NotSupported,
    OperationFailed,
    translate,
)
from hypervisor.events import DomainEvent, HostObserver, LinkEvent, ObjectEvent
from hypervisor.links import HostLink
from hypervisor.spec import DomainSpec, NetworkSpec, PoolSpec, VolumeSpec
from tests.waiting import until

UUID = "6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c11"
SPEC = DomainSpec(uuid=UUID, name="vm1", memory_mib=192, virt_type="test", cpu_mode="")
MIB = 1024 * 1024


class Refusal(libvirt.libvirtError):
    """A libvirt error with the code and message that a test wants."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.err = (code, libvirt.VIR_FROM_QEMU, message, 2, "", "", "", 0, 0)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", NotFound),
        (libvirt.VIR_ERR_NO_STORAGE_VOL, "no volume", NotFound),
        (libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running", InvalidState),
        (libvirt.VIR_ERR_OPERATION_FAILED, "domain 'x' already exists with uuid y", AlreadyExists),
        (libvirt.VIR_ERR_NO_SUPPORT, "not supported by the connection driver", NotSupported),
        (libvirt.VIR_ERR_INVALID_ARG, "unsupported flags (0x1) in function f", NotSupported),
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding", AgentUnresponsive),
        (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured", AgentUnresponsive),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "write: No space left on device", NoSpace),
        (libvirt.VIR_ERR_SYSTEM_ERROR, "Unable to read TLS confirmation: Input/output error", CertificateRefused),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed", HostUnreachable),
        (libvirt.VIR_ERR_OPERATION_FAILED, "Active console session exists for this domain", Busy),
        (libvirt.VIR_ERR_XML_ERROR, "XML error: nonsense", OperationFailed),
    ],
)
def test_libvirts_errors_become_ours(code: int, message: str, kind: type[HypervisorError]) -> None:
    error = translate(Refusal(code, message))
    assert type(error) is kind
    assert (error.code, error.domain, error.message) == (code, libvirt.VIR_FROM_QEMU, message)


def test_addresses_carry_their_credentials_as_parameters() -> None:
    tls = HostAddress.tls("10.0.0.1", "/var/pki/a b")
    assert (tls.uri, tls.host, tls.port) == ("qemu+tls://10.0.0.1/system", "10.0.0.1", 16514)
    assert tls.connect_uri == "qemu+tls://10.0.0.1/system?pkipath=/var/pki/a%20b"
    assert HostAddress.tls("fe80::1", "/p").uri == "qemu+tls://[fe80::1]/system"
    ssh = HostAddress.ssh("root", "node1", "/k", "/h", port=2222)
    assert (ssh.uri, ssh.port) == ("qemu+ssh://root@node1:2222/system", 2222)
    assert ssh.connect_uri.startswith("qemu+libssh://root@node1:2222/system?keyfile=/k&")
    assert "known_hosts=/h" in ssh.connect_uri
    assert HostAddress.test().connect_uri == "test:///default"


@pytest.mark.parametrize("host", ["", "a b", "h/../x", "h?no_verify=1", "u@h", "h#x"])
def test_a_host_name_cannot_smuggle_parameters(host: str) -> None:
    with pytest.raises(ValueError):
        HostAddress.tls(host, "/p")


def test_states_have_words() -> None:
    assert words(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR) == (DomainState.PAUSED, "ioerror")
    assert words(libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT) == (DomainState.SHUTOFF, "from snapshot")
    assert words(99, 99) == (DomainState.NOSTATE, "")


def test_capabilities_of_a_driver_that_lacks_half_the_calls(test_host: HostLink) -> None:
    facts = capabilities.read(test_host)
    assert (facts.driver, facts.libvirt_version) == ("TEST", "9.0.0")
    assert (facts.sockets, facts.cores, facts.memory_bytes) == (1, 4, 4 * 1024 * MIB)
    assert facts.domain_types == ("test",)
    assert (facts.manufacturer, facts.product, facts.serial) == ("", "", "")
    assert capabilities.supports(facts, "screenshot")
    assert not capabilities.supports(facts, "console")
    assert capabilities.devices(test_host) == []


def test_a_sample_without_counters_gives_state_only(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    domains.create(test_host, UUID)
    _host, samples = stats.sample(test_host)
    assert [(each.uuid, each.state, each.cpu_ns, each.net_rx_bytes) for each in samples] == [(UUID, DomainState.RUNNING, None, None)]
    assert stats.rates(samples[0], samples[0]).cpu_percent is None


BEFORE = stats.DomainSample(UUID, 10.0, DomainState.RUNNING, cpu_ns=10**9, vcpus=2, net_rx_bytes=1000, disk_wr_reqs=5, balloon_bytes=1000)


def test_rates_are_differences_by_time() -> None:
    after = replace(BEFORE, at=12.0, cpu_ns=3 * 10**9, net_rx_bytes=5000, disk_wr_reqs=25, guest_usable_bytes=250, memory_bytes=77)
    rates = stats.rates(BEFORE, after)
    assert (rates.cpu_percent, rates.net_rx_bps, rates.disk_wr_iops, rates.memory_percent) == (50.0, 2000.0, 10.0, 75.0)
    assert (rates.memory_bytes, rates.disk_rd_bps) == (77, None)


def test_a_counter_that_went_back_gives_none_and_no_percentage_leaves_its_range() -> None:
    after = replace(BEFORE, at=11.0, cpu_ns=9 * 10**9, net_rx_bytes=10)
    rates = stats.rates(BEFORE, after)
    assert (rates.cpu_percent, rates.net_rx_bps) == (100.0, None)
    with pytest.raises(ValueError):
        stats.rates(BEFORE, replace(after, uuid="other"))


def test_host_rates() -> None:
    before = stats.HostSample(0.0, 0, 0, 0, 0)
    after = stats.HostSample(1.0, 60, 30, 10, 0, memory_total=100, memory_free=20, memory_cached=30)
    assert stats.host_rates(before, after) == stats.HostRates(1.0, 40.0, 50, 100)
    assert stats.host_rates(before, stats.HostSample(1.0)).cpu_percent is None


def test_a_pool_is_made_once_and_its_volumes_come_and_go(test_host: HostLink) -> None:
    spec = PoolSpec("local", "/srv/local")
    storage.ensure_pool(test_host, spec)
    storage.ensure_pool(test_host, spec)
    with pytest.raises(AlreadyExists, match="/srv/local"):
        storage.ensure_pool(test_host, PoolSpec("local", "/srv/other"))
    info = storage.pool_info(test_host, "local")
    assert info.active
    assert info.capacity == info.available + info.allocation > 0

    path = storage.create_volume(test_host, "local", VolumeSpec("a.qcow2", MIB))
    assert path == "/srv/local/a.qcow2"
    with pytest.raises(AlreadyExists):
        storage.create_volume(test_host, "local", VolumeSpec("a.qcow2", MIB))
    told: list[tuple[int, int]] = []
    copy = storage.copy_volume(test_host, "local", path, VolumeSpec("b.qcow2", MIB), lambda done, total: told.append((done, total)))
    assert told and told[-1][0] == told[-1][1]
    assert sorted(volume.path for volume in storage.list_volumes(test_host, "local")) == [path, copy]
    assert storage.volume_info(test_host, "local", "a.qcow2").capacity == MIB
    for _ in range(2):
        storage.delete_volume(test_host, "local", "a.qcow2")
    assert [volume.name for volume in storage.list_volumes(test_host, "local")] == ["b.qcow2"]
    with pytest.raises(NotSupported):
        storage.upload(test_host, "local", "b.qcow2", io.BytesIO(b"x"), 1)
    with pytest.raises(NotFound):
        storage.copy_volume(test_host, "local", "/nowhere", VolumeSpec("c", MIB))
    with pytest.raises(NotFound):
        storage.pool_info(test_host, "nowhere")


def test_a_network_is_made_once(test_host: HostLink) -> None:
    spec = NetworkSpec("lan", bridge="vbr7", forward="nat", address="192.168.77.1/24")
    assert networks.network_state(test_host, "lan") is networks.NetworkState.MISSING
    networks.ensure_network(test_host, spec)
    networks.ensure_network(test_host, spec)
    assert networks.network_state(test_host, "lan") is networks.NetworkState.ACTIVE
    with pytest.raises(AlreadyExists, match="address"):
        networks.ensure_network(test_host, replace(spec, address="192.168.78.1/24"))
    for _ in range(2):
        networks.remove_network(test_host, "lan")
    assert networks.network_state(test_host, "lan") is networks.NetworkState.MISSING


@pytest.fixture
def heard(test_host: HostLink) -> Iterator[list[object]]:
    """Events of the test host, as they come."""
    events: list[object] = []
    observer = HostObserver(test_host, events.append)
    observer.start()
    until(lambda: events, 5, "the first event")
    yield events
    observer.close()


def _kinds(events: list[object]) -> list[str]:
    return [event.kind for event in events if isinstance(event, DomainEvent)]


def test_events_tell_a_domains_life_in_order(test_host: HostLink, heard: list[object]) -> None:
    assert isinstance(heard[0], LinkEvent) and heard[0].up
    domains.define(test_host, to_xml(SPEC))
    domains.create(test_host, UUID)
    domains.suspend(test_host, UUID)
    domains.resume(test_host, UUID)
    domains.destroy(test_host, UUID)
    domains.undefine(test_host, UUID)
    until(lambda: _kinds(heard) == ["defined", "started", "suspended", "resumed", "stopped", "undefined"], 5, "six events")
    stopped = next(event for event in heard if isinstance(event, DomainEvent) and event.kind == "stopped")
    assert (stopped.uuid, stopped.name, stopped.detail, stopped.at.tzinfo is not None) == (UUID, "vm1", "destroyed", True)


def test_networks_and_pools_are_heard_too(test_host: HostLink, heard: list[object]) -> None:
    networks.ensure_network(test_host, NetworkSpec("lan", bridge="vbr7"))
    storage.ensure_pool(test_host, PoolSpec("local", "/srv/local"))
    until(lambda: {("network", "lan", "started"), ("pool", "local", "started")} <= {
        (event.type, event.name, event.kind) for event in heard if isinstance(event, ObjectEvent)
    }, 5, "both starts")  # fmt: skip


def test_events_go_on_after_a_reconnect(test_host: HostLink, heard: list[object]) -> None:
    test_host._lost(test_host._lanes.main, HostUnreachable("cut"))
    until(lambda: [event.up for event in heard if isinstance(event, LinkEvent)] == [True, False, True], 5, "down and up")
    domains.define(test_host, to_xml(SPEC))
    until(lambda: _kinds(heard) == ["defined"], 5, "an event on the new connection")


def test_a_sink_that_fails_stops_nothing_and_a_closed_observer_is_silent(test_host: HostLink) -> None:
    seen: list[str] = []

    def sink(event: object) -> None:
        seen.append(type(event).__name__)
        raise RuntimeError("the sink's own fault")

    observer = HostObserver(test_host, sink)
    observer.start()
    domains.define(test_host, to_xml(SPEC))
    until(lambda: seen.count("DomainEvent") == 1, 5, "the event")
    observer.close()
    before = list(seen)
    domains.create(test_host, UUID)
    assert seen == before


def test_two_observers_of_one_link_hear_the_same_until_each_is_closed(test_host: HostLink, heard: list[object]) -> None:
    second: list[object] = []
    observer = HostObserver(test_host, second.append)
    observer.start()
    domains.define(test_host, to_xml(SPEC))
    until(lambda: _kinds(heard) == _kinds(second) == ["defined"], 5, "both to hear it")
    observer.close()
    domains.create(test_host, UUID)
    until(lambda: _kinds(heard) == ["defined", "started"], 5, "the first to hear on")
    assert _kinds(second) == ["defined"]


def test_an_observer_of_a_live_link_hears_that_it_is_up(test_host: HostLink) -> None:
    test_host.call(lambda _: 1)
    events: list[object] = []
    observer = HostObserver(test_host, events.append)
    observer.start()
    assert [event.up for event in events if isinstance(event, LinkEvent)] == [True]
    observer.close()
