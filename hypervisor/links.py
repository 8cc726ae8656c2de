"""One link per host: a connection that comes back by itself, and calls that never wait for a dead host."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

import libvirt

from .address import HostAddress
from .errors import CallTimeout, CertificateRefused, HostUnreachable, HypervisorError
from .lanes import MAX_CALLS, Lanes
from .opener import Opener
from .session import Session

T = TypeVar("T")

BACKOFF_FIRST = 0.5
BACKOFF_MAX = 15.0
# After a call ran out of time: how long the host has to take a new connection, which needs 0.1 s of a healthy one.
PING_SECONDS = 2.0
SETUP_SECONDS = 10.0
SETUP = "registering for events"


class LinkState(StrEnum):
    NEW = "new"
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"  # lost or refused; tried again with growing pauses
    CLOSED = "closed"


StateListener = Callable[[LinkState, HypervisorError | None], None]
Setup = Callable[[libvirt.virConnect], Callable[[], None]]


class HostLink:
    """The only way to a host. Safe to use from any thread; connects at the first call.

    Attributes:
        state: see LinkState.
        last_error: why it is or was last down.
        connected_since: aware UTC, None while down.
    """

    def __init__(self, address: HostAddress) -> None:
        self.address = address
        self.state = LinkState.NEW
        self.last_error: HypervisorError | None = None
        self._name = address.host or address.uri
        self._changed = threading.Condition()
        self._remote = bool(address.host)  # a driver inside this process has no libvirtd to lose
        self._lanes: Lanes | None = None
        self._suspect: Lanes | None = None
        self._keeper: threading.Thread | None = None
        self._opener = Opener(address)
        self._listeners: list[StateListener] = []
        self._setups: list[Setup] = []

    @property
    def connected_since(self) -> datetime | None:
        lanes = self._lanes
        return datetime.fromtimestamp(lanes.main.since, UTC) if lanes else None

    def call(self, fn: Callable[[libvirt.virConnect], T], *, timeout: float = 10.0, what: str = "") -> T:
        """Run `fn(connection)` on the link's threads and return its result, which must hold no libvirt object.

        Args:
            timeout: seconds, with the connecting of a new link included.
            what: for messages, as in "did not finish starting vm1".

        Raises:
            CallTimeout: after `timeout` seconds. The host is then asked for a sign of life, and given up when it shows none.
            HostUnreachable: at once, while there is no connection.
            HypervisorError: what libvirt answered.
        """
        deadline = time.monotonic() + timeout
        lanes = self._wait_for_lanes(timeout)
        try:
            return lanes.run(fn, max(0.001, deadline - time.monotonic()), what)
        except CallTimeout:
            self._suspect_host(lanes)
            raise

    def call_apart(self, fn: Callable[[libvirt.virConnect], T], *, timeout: float, what: str = "") -> T:
        """Like `call`, on a connection of its own: for what takes minutes."""
        if not self._remote:
            return self.call(fn, timeout=timeout, what=what)
        deadline = time.monotonic() + timeout
        session = self.open_apart(timeout)
        try:
            return session.run(fn, max(0.001, deadline - time.monotonic()), what)
        finally:
            session.retire(HostUnreachable(f"{what or 'the call'} on {self._name} was given up"))

    def open_apart(self, timeout: float = 10.0, on_lost: Callable[[HostUnreachable], None] = lambda error: None) -> Session:
        """A connection of the caller's own, for a stream; `retire` it when done. Refused at once while the link is down."""
        deadline = time.monotonic() + timeout
        self._wait_for_lanes(timeout)
        return self._open_lane(max(0.001, deadline - time.monotonic()), on_lost)

    def on_state(self, listener: StateListener) -> Callable[[], None]:
        """Call `listener(state, error)` at each change, in order, on a thread of the link. Returns what takes it off again."""
        with self._changed:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def attach(self, setup: Setup) -> Callable[[], None]:
        """Run `setup(connection)` now and after each reconnect, before any call; it returns its cleanup.

        Connects a new link. While the link is down, the first setup runs when it comes back. Returns what ends it.
        """
        with self._changed:
            self._setups.append(setup)
            lanes = self._lanes
            self._start_if_new()
        if lanes:
            try:
                lanes.run(lambda connection: lanes.main.add_cleanup(setup, setup(connection)), SETUP_SECONDS, SETUP, on_main=True)
            except HostUnreachable as error:
                self._lost(lanes.main, error)  # the next connection gets it
        return lambda: self._detach(setup)

    def _detach(self, setup: Setup) -> None:
        with self._changed:
            if setup in self._setups:
                self._setups.remove(setup)
            lanes = self._lanes
        cleanup = lanes.main.take_cleanup(setup) if lanes else None
        if lanes and cleanup:
            with suppress(HypervisorError):
                lanes.run(lambda _connection: cleanup(), SETUP_SECONDS, "ending its events", on_main=True)

    def close(self) -> None:
        """Give the connection up for good. Calls that wait fail at once."""
        with self._changed:
            lanes, self._lanes = self._lanes, None
            self.state = LinkState.CLOSED
            self._changed.notify_all()
        if lanes:
            lanes.retire(HostUnreachable(f"the link to {self._name} was closed"))

    def _start_if_new(self) -> None:
        if self.state is LinkState.NEW:
            self.state = LinkState.CONNECTING
            self._start_keeper()

    def _wait_for_lanes(self, timeout: float) -> Lanes:
        with self._changed:
            self._start_if_new()
            if not self._changed.wait_for(lambda: self.state is not LinkState.CONNECTING, timeout):
                raise CallTimeout(f"no connection to {self._name} within {timeout:.3g} s")
            if self._lanes:
                return self._lanes
            if self.state is LinkState.CLOSED:
                raise HostUnreachable(f"the link to {self._name} is closed")
            kind = CertificateRefused if isinstance(self.last_error, CertificateRefused) else HostUnreachable
            raise kind(f"{self._name} cannot be reached: {self.last_error}")

    def _suspect_host(self, lanes: Lanes) -> None:
        """One slow call is no dead host: see, aside, whether it still takes a connection, and give it up when it does not."""
        with self._changed:
            if self._lanes is not lanes or self._suspect is lanes or not self._remote:
                return
            self._suspect = lanes
        threading.Thread(target=self._ping, args=(lanes,), name=f"ping-{self._name}", daemon=True).start()

    def _ping(self, lanes: Lanes) -> None:
        try:
            lanes.add(self._open_lane(PING_SECONDS))
        except HypervisorError:
            self._lost(lanes.main, HostUnreachable(f"{self._name} accepts calls and answers none"))
        finally:
            with self._changed:
                if self._suspect is lanes:
                    self._suspect = None

    def _open_lane(self, within: float, on_lost: Callable[[HostUnreachable], None] = lambda error: None) -> Session:
        def lost(session: Session, error: HostUnreachable) -> None:
            session.retire(error)
            on_lost(error)

        return Session(self._opener.open(within), self._name, 1, lost)

    def _lost(self, main: Session, error: HostUnreachable) -> None:
        main.retire(error)  # first: _publish_or_next looks at it under the lock
        with self._changed:
            lanes = self._lanes
            if not lanes or lanes.main is not main:
                return
            self._lanes = None
            self.state, self.last_error = LinkState.DOWN, error
            self._start_keeper()
        lanes.retire(error)

    def _start_keeper(self) -> None:
        before = self._keeper
        self._keeper = threading.Thread(target=self._keep, args=(before,), name=f"link-{self._name}", daemon=True)
        self._keeper.start()

    def _keep(self, before: threading.Thread | None) -> None:
        """Connect, with growing pauses, until there is a session. One thread at a time, so listeners hear things in order."""
        if before:
            before.join()
        if self.state is LinkState.DOWN:
            self._tell(LinkState.DOWN, self.last_error)
        pause = BACKOFF_FIRST
        while self.state is not LinkState.CLOSED:
            try:
                self._establish()
            except HypervisorError as error:
                self._failed(error)
            else:
                self._tell(LinkState.UP, None)
                return
            with self._changed:
                self._changed.wait_for(lambda: self.state is LinkState.CLOSED, pause * random.uniform(0.7, 1.0))  # noqa: S311 - jitter  # nosec B311
            pause = min(pause * 2, BACKOFF_MAX)

    def _failed(self, error: HypervisorError) -> None:
        with self._changed:
            news = self.state is LinkState.CONNECTING or type(error) is not type(self.last_error)
            if self.state is LinkState.CLOSED:
                return
            self.state, self.last_error = LinkState.DOWN, error
            self._changed.notify_all()
        if news:
            self._tell(LinkState.DOWN, error)

    def _establish(self) -> None:
        """Connect, register what is attached, and only then let calls in."""
        session = Session(self._opener.open(), self._name, 1 if self._remote else MAX_CALLS, self._lost)
        done: list[Setup] = []
        try:
            while (setup := self._publish_or_next(session, done)) is not None:
                self._set_up(session, setup)
                done.append(setup)
        except HypervisorError as error:
            session.retire(HostUnreachable(str(error)))
            raise

    def _publish_or_next(self, session: Session, done: list[Setup]) -> Setup | None:
        with self._changed:
            if session.retired:
                raise session.retired
            if self.state is LinkState.CLOSED:
                raise HostUnreachable(f"the link to {self._name} was closed")
            for setup in self._setups:
                if setup not in done:
                    return setup
            self._lanes, self.state = Lanes(session, self._name, self._open_lane, self._remote), LinkState.UP
            self._changed.notify_all()
            return None

    def _set_up(self, session: Session, setup: Setup) -> None:
        session.run(lambda connection: session.add_cleanup(setup, setup(connection)), SETUP_SECONDS, SETUP)

    def _tell(self, state: LinkState, error: HypervisorError | None) -> None:
        for listener in list(self._listeners):
            listener(state, error)


class LinkPool:
    """The links of this process, one per address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: dict[HostAddress, HostLink] = {}

    def get(self, address: HostAddress) -> HostLink:
        """The link to this address, made (not yet connected) when it is new."""
        with self._lock:
            if address not in self._links:
                self._links[address] = HostLink(address)
            return self._links[address]

    def drop(self, address: HostAddress) -> None:
        """Close and forget a link, if there is one."""
        with self._lock:
            link = self._links.pop(address, None)
        if link:
            link.close()

    def close(self) -> None:
        """Close and forget all links."""
        with self._lock:
            gone, self._links = list(self._links.values()), {}
        for link in gone:
            link.close()


links = LinkPool()
