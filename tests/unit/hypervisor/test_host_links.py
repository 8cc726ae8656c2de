"""Links: limits, reconnects, and hosts that misbehave."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest

from hypervisor import opener, session
from hypervisor.address import HostAddress
from hypervisor.crew import Crew
from hypervisor.errors import CallTimeout, CertificateRefused, HostUnreachable, HypervisorError, NotFound
from hypervisor.lanes import MAX_CALLS, MAX_IDLE, Lanes
from hypervisor.links import HostLink, LinkPool, LinkState
from hypervisor.loop import ensure_event_loop
from tests.waiting import until


@pytest.fixture
def listen() -> Iterator[Callable[..., int]]:
    """Starts a server on 127.0.0.1 that does with each connection what it is told; returns its port."""
    sockets: list[socket.socket] = []

    def start(serve: Callable[[socket.socket], None]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    sockets.append(client)
                    with suppress(OSError):
                        serve(client)

        threading.Thread(target=accept, daemon=True).start()
        return server.getsockname()[1]

    yield start
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def test_a_call_returns_what_the_host_answers(test_host: HostLink) -> None:
    assert test_host.state is LinkState.NEW
    assert test_host.call(lambda connection: connection.getType()) == "TEST"
    assert test_host.state is LinkState.UP
    assert test_host.connected_since is not None


def test_libvirts_refusal_is_raised_as_ours(test_host: HostLink) -> None:
    with pytest.raises(NotFound) as caught:
        test_host.call(lambda connection: connection.lookupByName("nobody"))
    assert caught.value.code_name == "VIR_ERR_NO_DOMAIN"


def test_a_bug_in_the_call_reaches_the_caller_and_the_link_lives(test_host: HostLink) -> None:
    with pytest.raises(ZeroDivisionError):
        test_host.call(lambda _: 1 / 0)
    assert test_host.call(lambda _: 1) == 1


def test_a_slow_call_costs_its_callers_limit_and_nobody_else(test_host: HostLink) -> None:
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(CallTimeout, match="sleeping"):
        test_host.call(lambda _: release.wait(20), timeout=0.2, what="sleeping")
    assert time.monotonic() - began < 1
    assert test_host.call(lambda _: "fine", timeout=1) == "fine"
    assert test_host.state is LinkState.UP, "a slow call is no dead host"
    release.set()


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Connections with one call at a time, as to a real host, of which each more is counted in `opened`."""

    def connect() -> session.Session:
        return session.Session(libvirt.open("test:///default"), "x", 1, lambda _session, _error: None)

    ensure_event_loop()
    opened = Lanes(connect(), "x", lambda _within: connect(), exclusive=True)
    yield opened
    opened.retire(HostUnreachable("the test is over"))


def test_calls_that_overlap_get_connections_of_their_own(lanes: Lanes) -> None:
    gate = threading.Event()

    def number(connection: libvirt.virConnect) -> int:
        gate.wait(10)
        return id(connection)

    with ThreadPoolExecutor(5) as callers:
        calls = [callers.submit(lambda: lanes.run(number, 10, "a number")) for _ in range(5)]
        until(lambda: len(lanes._busy) == 5, 5, "five connections")
        gate.set()
        assert len({each.result() for each in calls}) == 5
    until(lambda: not lanes._busy, 5, "the end of the calls")
    assert len(lanes._idle) == lanes._extra == MAX_IDLE, "spare ones beyond a few are closed"
    assert len({lanes.run(number, 10, "a number") for _ in range(5)}) == 1, "one after the other, one connection does"


def test_a_connection_with_a_hanging_call_is_not_used_until_it_ends(lanes: Lanes) -> None:
    release = threading.Event()
    with pytest.raises(CallTimeout):
        lanes.run(lambda _: release.wait(20), 0.1, "hanging")
    assert lanes.main in lanes._busy
    assert lanes.run(lambda _: "fine", 5, "another") == "fine"
    with pytest.raises(CallTimeout, match="too busy"):
        lanes.run(lambda _: 1, 0.1, "on main", on_main=True)
    release.set()
    until(lambda: lanes.main not in lanes._busy, 5, "the hanging call's end")
    assert lanes.run(lambda _: 1, 5, "on main", on_main=True) == 1


def test_no_more_connections_than_the_limit(lanes: Lanes) -> None:
    release = threading.Event()
    with ThreadPoolExecutor(MAX_CALLS) as callers:
        calls = [callers.submit(lambda: lanes.run(lambda _: release.wait(20), 20, "hanging")) for _ in range(MAX_CALLS)]
        until(lambda: len(lanes._busy) == MAX_CALLS, 5, "all connections to be busy")
        with pytest.raises(CallTimeout, match="too busy"):
            lanes.run(lambda _: 1, 0.2, "one more")
        release.set()
        assert all(each.result() for each in calls)


def test_those_who_wait_fail_at_once_when_the_host_is_given_up(lanes: Lanes) -> None:
    release = threading.Event()
    with ThreadPoolExecutor(MAX_CALLS + 1) as callers:
        calls = [callers.submit(lambda: lanes.run(lambda _: release.wait(30), 30, "hanging")) for _ in range(MAX_CALLS + 1)]
        until(lambda: len(lanes._busy) == MAX_CALLS, 5, "all connections to be busy")
        began = time.monotonic()
        lanes.retire(HostUnreachable("gone"))
        for each in calls:
            with pytest.raises(HostUnreachable, match="gone"):
                each.result(5)
        assert time.monotonic() - began < 1
        release.set()


def test_forty_first_callers_share_one_connection(test_host: HostLink, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = libvirt.open
    monkeypatch.setattr(opener.libvirt, "open", lambda uri: opened.append(uri) or real(uri))
    with ThreadPoolExecutor(40) as callers:
        assert list(callers.map(lambda _: test_host.call(lambda connection: connection.getType()), range(40))) == ["TEST"] * 40
    assert len(opened) == 1


def test_an_attached_setup_runs_once_for_each_connection_before_any_call(test_host: HostLink) -> None:
    seen: list[str] = []

    def setup(_connection: object) -> Callable[[], None]:
        seen.append("setup")
        return lambda: seen.append("cleanup")

    test_host.attach(setup)
    test_host.call(lambda _: seen.append("call"))
    assert seen == ["setup", "call"]
    test_host._lost(test_host._lanes.main, HostUnreachable("cut"))
    until(lambda: test_host.state is LinkState.UP, 5, "the reconnect")
    until(lambda: "cleanup" in seen, 5, "the cleanup of the first connection")
    assert sorted(seen) == ["call", "cleanup", "setup", "setup"]


def test_a_closed_link_refuses_calls(test_host: HostLink) -> None:
    test_host.call(lambda _: 1)
    test_host.close()
    with pytest.raises(HostUnreachable, match="closed"):
        test_host.call(lambda _: 1)


def test_a_connection_is_closed_only_after_its_last_call(test_host: HostLink) -> None:
    release = threading.Event()
    result: list[str] = []

    def slow(connection: libvirt.virConnect) -> None:
        release.wait(10)
        result.append(connection.getType())

    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(lambda: test_host.call(slow))
        until(lambda: test_host._lanes and test_host._lanes.main._running == 1, 5, "the call")
        running = test_host._lanes.main
        test_host.close()
        with pytest.raises(HostUnreachable):
            call.result(5)
        assert not running._closed
        release.set()
        until(lambda: running._closed, 5, "the close")
    assert result == ["TEST"]


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    link = HostLink(HostAddress.tls("127.0.0.1", str(tmp_path), port))
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match="refused"):
        link.call(lambda _: 1)
    assert link.state is LinkState.DOWN
    with pytest.raises(HostUnreachable):
        link.call(lambda _: 1)
    assert time.monotonic() - began < 2
    link.close()


def test_a_server_that_accepts_and_never_answers_costs_the_limit_and_then_nothing(
    listen: Callable[..., int], make_pki: Callable[[str], Path]
) -> None:
    link = HostLink(HostAddress.tls("127.0.0.1", str(make_pki("ours")), listen(lambda _client: None)))
    began = time.monotonic()
    with pytest.raises(CallTimeout):
        link.call(lambda _: 1, timeout=0.5)
    assert 0.4 < time.monotonic() - began < 1.5
    until(lambda: link.state is LinkState.DOWN, 8, "the attempt's own limit")
    began = time.monotonic()
    with pytest.raises(HostUnreachable):
        link.call(lambda _: 1, timeout=10)
    assert time.monotonic() - began < 0.5
    link.close()


def _tls(pki: Path, after: Callable[[ssl.SSLSocket], None], trust: Path | None = None) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "clientcert.pem", pki / "clientkey.pem")
    if trust:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(trust / "cacert.pem")

    def serve(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secure:
            after(secure)

    return serve


def test_a_server_of_another_ca_is_refused_by_name(listen: Callable[..., int], make_pki: Callable[[str], Path]) -> None:
    ours, theirs = make_pki("ours"), make_pki("theirs")
    link = HostLink(HostAddress.tls("127.0.0.1", str(ours), listen(_tls(theirs, lambda _: None))))
    with pytest.raises(CertificateRefused, match="not signed by our CA"):
        link.call(lambda _: 1)
    with pytest.raises(CertificateRefused):
        link.call(lambda _: 1)
    link.close()


def test_a_server_that_refuses_our_certificate_is_reported_as_that(listen: Callable[..., int], make_pki: Callable[[str], Path]) -> None:
    ours, theirs = make_pki("ours"), make_pki("theirs")
    link = HostLink(HostAddress.tls("127.0.0.1", str(ours), listen(_tls(ours, lambda _: None, trust=theirs))))
    with pytest.raises(CertificateRefused):
        link.call(lambda _: 1)
    link.close()


def test_certificates_of_ours_that_are_missing_are_reported(listen: Callable[..., int], tmp_path: Path) -> None:
    link = HostLink(HostAddress.tls("127.0.0.1", str(tmp_path / "none"), listen(lambda _: None)))
    with pytest.raises(CertificateRefused, match="our own"):
        link.call(lambda _: 1)
    link.close()


def test_a_dead_host_does_not_delay_another(test_host: HostLink, listen: Callable[..., int], make_pki: Callable[[str], Path]) -> None:
    dead = HostLink(HostAddress.tls("127.0.0.1", str(make_pki("ours")), listen(lambda _: None)))
    with ThreadPoolExecutor(20) as callers:
        stuck = [callers.submit(lambda: dead.call(lambda _: 1, timeout=3)) for _ in range(19)]
        began = time.monotonic()
        assert test_host.call(lambda _: 1, timeout=1) == 1
        assert time.monotonic() - began < 0.5
        for each in stuck:
            with pytest.raises(HypervisorError):
                each.result()
    dead.close()


def test_the_pool_has_one_link_for_each_address_and_forgets_on_drop(tmp_path: Path) -> None:
    pool = LinkPool()
    address = HostAddress.test()
    link = pool.get(address)
    assert pool.get(HostAddress.test()) is link
    assert pool.get(HostAddress.tls("h", str(tmp_path))) is not link
    pool.drop(address)
    assert link.state is LinkState.CLOSED
    assert pool.get(address) is not link
    pool.close()


def test_a_crew_runs_no_more_than_its_size_and_its_idle_threads_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypervisor.crew.IDLE_SECONDS", 0.1)
    crew, gate, done = Crew("crew-under-test", 3), threading.Event(), []
    peak: list[int] = []

    def alive() -> int:
        return sum(thread.name == "crew-under-test" for thread in threading.enumerate())

    for number in range(10):
        crew.submit(lambda number=number: (gate.wait(5), peak.append(alive()), done.append(number)))
    gate.set()
    until(lambda: len(done) == 10, 5, "ten tasks")
    assert max(peak) <= 3
    until(lambda: alive() == 0, 5, "the idle threads to go")
    crew.submit(lambda: done.append(10))
    until(lambda: len(done) == 11, 5, "a task after the idle time")


def test_retiring_twice_is_harmless(test_host: HostLink) -> None:
    test_host.call(lambda _: 1)
    live: session.Session = test_host._lanes.main
    live.retire(HostUnreachable("one"))
    live.retire(HostUnreachable("two"))
    assert str(live.retired) == "one"
