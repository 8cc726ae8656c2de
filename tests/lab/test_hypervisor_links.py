"""Links to real hosts on their bad days."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hosts.pki import CertificateAuthority
from hypervisor import domains
from hypervisor.address import HostAddress
from hypervisor.domain_xml import to_xml
from hypervisor.errors import CallTimeout, CertificateRefused, HostUnreachable, HypervisorError
from hypervisor.events import DomainEvent, HostObserver, LinkEvent
from hypervisor.links import HostLink, LinkState
from hypervisor.spec import DomainSpec
from lab.cluster import Lab
from tests.waiting import until

UUID = "6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c31"


@pytest.fixture
def two(healthy_lab: Lab) -> Iterator[tuple[HostLink, HostLink]]:
    """Connected links to node1, which suffers, and node2, which must not notice."""
    made = [HostLink(HostAddress.tls(healthy_lab.node(name).address, str(healthy_lab.ca.client_dir()))) for name in ("node1", "node2")]
    for link in made:
        link.call(lambda connection: connection.getHostname())
    yield made[0], made[1]
    for link in made:
        link.close()


def _name(link: HostLink, timeout: float = 10.0) -> str:
    return link.call(lambda connection: connection.getHostname(), timeout=timeout, what="its name")


def _up(link: HostLink) -> None:
    until(lambda: link.state is LinkState.UP, 40, "the link to come back")


def test_a_frozen_libvirtd_costs_its_callers_their_limit_and_others_nothing(two: tuple[HostLink, HostLink], lab: Lab) -> None:
    sick, well = two
    lab.freeze_libvirtd("node1")
    with ThreadPoolExecutor(6) as callers:
        began = time.monotonic()
        patient = [callers.submit(_name, sick, 30.0) for _ in range(3)]
        with pytest.raises(CallTimeout):
            _name(sick, 1.0)
        assert 0.9 < time.monotonic() - began < 2
        slowest = 0.0
        while sick.state is LinkState.UP:
            asked = time.monotonic()
            assert _name(well) == "node2"
            slowest = max(slowest, time.monotonic() - asked)
        assert slowest < 0.5
        for each in patient:
            with pytest.raises(HostUnreachable):
                each.result()
        assert time.monotonic() - began < 9, "nobody waits for a limit of 30 s once the host is given up"
    asked = time.monotonic()
    with pytest.raises(HostUnreachable):
        _name(sick)
    assert time.monotonic() - asked < 0.1
    lab.thaw_libvirtd("node1")
    _up(sick)
    assert _name(sick) == "node1"


def test_calls_under_way_when_a_frozen_host_thaws_do_no_harm(two: tuple[HostLink, HostLink], lab: Lab) -> None:
    """libvirt 9.0's client crashes here when it has two calls on one connection."""
    sick, _ = two
    lab.freeze_libvirtd("node1")
    for _ in range(4):
        threading.Thread(target=lambda: pytest.raises(HypervisorError, _name, sick, 1.0), daemon=True).start()
    until(lambda: sick.state is LinkState.DOWN, 15, "the host to be given up")
    until(lambda: not any(thread.name.startswith("open-") for thread in threading.enumerate()), 20, "the attempts to end")
    lab.thaw_libvirtd("node1")
    _up(sick)
    assert _name(sick) == "node1"


def test_a_new_link_to_a_frozen_host_fails_within_the_limit(healthy_lab: Lab) -> None:
    healthy_lab.freeze_libvirtd("node1")
    link = HostLink(HostAddress.tls(healthy_lab.node("node1").address, str(healthy_lab.ca.client_dir())))
    began = time.monotonic()
    with pytest.raises(CallTimeout):
        _name(link, 1.0)
    assert time.monotonic() - began < 2
    link.close()


def test_a_cut_cable_is_noticed_without_a_call_and_healed_with_events(two: tuple[HostLink, HostLink], lab: Lab) -> None:
    sick, well = two
    events: list[object] = []
    observer = HostObserver(sick, events.append)
    observer.start()
    lab.cut_host("node1")
    until(lambda: sick.state is LinkState.DOWN, 12, "keepalive to notice")
    assert "keepalive" in str(sick.last_error)
    assert _name(well) == "node2"
    lab.heal_host("node1")
    _up(sick)
    until(lambda: [event.up for event in events if isinstance(event, LinkEvent)] == [True, False, True], 5, "down and up again")
    domains.define(sick, to_xml(DomainSpec(uuid=UUID, name="after-the-cut", memory_mib=64)))
    until(lambda: [event.kind for event in events if isinstance(event, DomainEvent)] == ["defined"], 5, "an event on the new connection")
    domains.undefine(sick, UUID)
    observer.close()


def test_a_libvirtd_that_ends_is_noticed_at_once_and_found_again(two: tuple[HostLink, HostLink], lab: Lab) -> None:
    sick, _ = two
    lab.stop_libvirtd("node1")
    until(lambda: sick.state is LinkState.DOWN, 3, "the end of the connection")
    with pytest.raises(HostUnreachable):
        _name(sick)
    lab.start_libvirtd("node1")
    _up(sick)
    assert _name(sick) == "node1"


def test_a_certificate_of_another_ca_is_refused_by_name(lab: Lab, tmp_path: Path) -> None:
    foreign = CertificateAuthority(tmp_path / "foreign")
    foreign.ensure()
    link = HostLink(HostAddress.tls(lab.node("node1").address, str(foreign.client_dir())))
    with pytest.raises(CertificateRefused):
        _name(link)
    link.close()


def test_a_client_of_another_ca_that_trusts_the_host_is_refused_by_the_host(lab: Lab, tmp_path: Path) -> None:
    foreign = CertificateAuthority(tmp_path / "foreign")
    foreign.ensure()
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name, source in (("cacert.pem", lab.ca), ("clientcert.pem", foreign), ("clientkey.pem", foreign)):
        (mixed / name).write_bytes((source.client_dir() / name).read_bytes())
    link = HostLink(HostAddress.tls(lab.node("node1").address, str(mixed)))
    with pytest.raises(CertificateRefused, match="refused our certificate|ended the TLS handshake"):
        _name(link)
    link.close()


def test_a_hundred_calls_at_once_open_few_connections_and_all_are_answered(two: tuple[HostLink, HostLink]) -> None:
    link, _ = two
    before = len(list(Path("/proc/self/fd").iterdir()))
    with ThreadPoolExecutor(30) as callers:
        assert set(callers.map(lambda _: _name(link), range(100))) == {"node1"}
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 20, 5, "the spare connections to be closed")
    assert link.state is LinkState.UP
