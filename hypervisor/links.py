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
from .opener import Opener
from .session import Session

T = TypeVar("T")

MAX_CALLS = 8
BACKOFF_FIRST = 0.5
BACKOFF_MAX = 15.0
# After a call ran out of time: how long the host has to answer the cheapest question there is.
PING_SECONDS = 2.0


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
        self._session: Session | None = None
        self._suspect: Session | None = None
        self._keeper: threading.Thread | None = None
        self._opener = Opener(address)
        self._listeners: list[StateListener] = []
        self._setups: list[Setup] = []

    @property
    def connected_since(self) -> datetime | None:
        session = self._session
        return datetime.fromtimestamp(session.since, UTC) if session else None

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
        session = self._wait_for_session(timeout)
        try:
            return session.run(fn, max(0.001, deadline - time.monotonic()), what)
        except CallTimeout:
            self._suspect_host(session)
            raise

    def call_apart(self, fn: Callable[[libvirt.virConnect], T], *, timeout: float, what: str = "") -> T:
        """Like `call`, on a connection of its own: for what takes minutes. libvirtd serves five calls per connection at a time."""
        if not self.address.host:
            return self.call(fn, timeout=timeout, what=what)  # drivers inside this process: another connection is another world
        deadline = time.monotonic() + timeout
        self._wait_for_session(timeout)
        session = Session(self._opener.open(), self._name, 1, lambda lost, error: lost.retire(error))
        try:
            return session.run(fn, max(0.001, deadline - time.monotonic()), what)
        finally:
            session.retire(HostUnreachable(f"{what or 'the call'} on {self._name} was given up"))

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
            session = self._session
            self._start_if_new()
        if session:
            try:
                self._set_up(session, setup)
            except HostUnreachable as error:
                self._lost(session, error)  # the next session gets it
        return lambda: self._detach(setup)

    def _detach(self, setup: Setup) -> None:
        with self._changed:
            if setup in self._setups:
                self._setups.remove(setup)
            session = self._session
        cleanup = session.take_cleanup(setup) if session else None
        if session and cleanup:
            with suppress(HypervisorError):
                session.run(lambda _connection: cleanup(), 5.0, "ending its events")

    def close(self) -> None:
        """Give the connection up for good. Calls that wait fail at once."""
        with self._changed:
            session, self._session = self._session, None
            self.state = LinkState.CLOSED
            self._changed.notify_all()
        if session:
            session.retire(HostUnreachable(f"the link to {self._name} was closed"))

    # Finding a session

    def _start_if_new(self) -> None:
        if self.state is LinkState.NEW:
            self.state = LinkState.CONNECTING
            self._start_keeper()

    def _wait_for_session(self, timeout: float) -> Session:
        with self._changed:
            self._start_if_new()
            if not self._changed.wait_for(lambda: self.state is not LinkState.CONNECTING, timeout):
                raise CallTimeout(f"no connection to {self._name} within {timeout:.3g} s")
            if self._session:
                return self._session
            if self.state is LinkState.CLOSED:
                raise HostUnreachable(f"the link to {self._name} is closed")
            kind = CertificateRefused if isinstance(self.last_error, CertificateRefused) else HostUnreachable
            raise kind(f"{self._name} cannot be reached: {self.last_error}")

    # Losing it

    def _suspect_host(self, session: Session) -> None:
        """One slow call is no dead host: ask it something cheap, aside, and give the connection up when that hangs too."""
        with self._changed:
            if self._session is not session or self._suspect is session:
                return
            self._suspect = session
        threading.Thread(target=self._ping, args=(session,), name=f"ping-{self._name}", daemon=True).start()

    def _ping(self, session: Session) -> None:
        try:
            session.run(lambda connection: connection.getLibVersion(), PING_SECONDS, "a sign of life")
        except CallTimeout:
            self._lost(session, HostUnreachable(f"{self._name} accepts calls and answers none"))
        except HypervisorError:
            pass  # it answered, or libvirt itself saw the loss
        finally:
            with self._changed:
                if self._suspect is session:
                    self._suspect = None

    def _lost(self, session: Session, error: HostUnreachable) -> None:
        session.retire(error)  # first: _publish_or_next looks at it under the lock
        with self._changed:
            if self._session is session:
                self._session = None
                self.state, self.last_error = LinkState.DOWN, error
                self._start_keeper()

    # Getting it back

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
                self._changed.wait_for(lambda: self.state is LinkState.CLOSED, pause * random.uniform(0.7, 1.0))  # noqa: S311 - jitter
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
        session = Session(self._opener.open(), self._name, MAX_CALLS, self._lost)
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
            self._session, self.state = session, LinkState.UP
            self._changed.notify_all()
            return None

    def _set_up(self, session: Session, setup: Setup) -> None:
        session.run(lambda connection: session.add_cleanup(setup, setup(connection)), 10.0, "registering for events")

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
