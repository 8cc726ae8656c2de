"""One observed host: its events in order, its statistics, its repair sweep. A host that is slow or dead delays only itself.

Two kinds of threads work for it. Those of the pool write to the database and never call the host; those of the crew call the host and
never touch the database. Results of the latter go through the host's inbox, so that they are applied in order with its events.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from django.utils import timezone

from hosts import observe as hosts_observe
from hosts.connect import link_of
from hosts.models import Host, HostStatus
from hypervisor import capabilities, domains, stats
from hypervisor.crew import Crew
from hypervisor.errors import HostUnreachable, HypervisorError
from hypervisor.events import DomainEvent, HostObserver, LinkEvent
from hypervisor.guest_agent import guest_facts
from hypervisor.guests import AgentInfo, agent_info
from hypervisor.links import LinkState, links
from storage import observe as storage_observe
from storage import on_host as storage_on_host
from storage.models import StorageDomain
from vms import observe as vms_observe
from vms import space
from vms.guest import observe as guest_observe
from vms.ha import leftovers
from watcher.agents import AgentRounds
from watcher.inbox import AWAY, Inbox, Interrupted
from watcher.items import AgentSaid, Answered, GuestReported, Item, Listed, StorageSeen, Sweep
from watcher.numbers import Numbers, Values
from watcher.reports import Reports

log = logging.getLogger(__name__)

# After an event of this kind, what was read from the host before it is too old for that domain.
_CHANGES = frozenset(
    {"defined", "undefined", "started", "suspended", "resumed", "stopped", "shutdown", "pmsuspended", "crashed", "io-error"}
)
READ_PAUSE_SECONDS = 0.2  # at least, between two lists of one host; longer when a list takes longer


class HostWatch:
    """Nothing here waits but on the threads named above.

    Args:
        pool: writes to the database, for all hosts.
        crew: calls hosts; this one has at most one list, one sample and one agent under way.
        may_write: asked before anything is written; False once the lease has run out.
        on_values: called with (epoch seconds, {"vm:<id>"/"host:<id>": values}) for each sample, on a thread of the crew.
        phase: 0..1, where in each period this host has its turn.
    """

    def __init__(
        self,
        host: Host,
        pool: Executor,
        crew: Crew,
        *,
        may_write: Callable[[], bool],
        on_values: Callable[[float, dict[str, Values]], None],
        stats_seconds: float = 2.0,
        sweep_seconds: float = 30.0,
        phase: float = 0.0,
    ) -> None:
        self.host, self._crew, self._on_values = host, crew, on_values
        self._stats_seconds, self._sweep_seconds = stats_seconds, sweep_seconds
        now = time.monotonic()
        self._tick_at, self._sweep_at = now + phase * stats_seconds, now + phase * sweep_seconds
        self.heard_at = 0.0  # monotonic, of its last answer to a call for statistics
        self._closed = False
        self._sampling = self._asking = False
        self._numbers = Numbers(host.pk)
        self._agents = AgentRounds(self._ask_agent, lambda uuid, info: self._inbox.put(AgentSaid(uuid, info)))
        self._reports = Reports()
        self._reading = self._read_again = False
        self._read_at = 0.0
        self._newer: set[str] = set()
        self._lock = threading.Lock()
        self._inbox: Inbox[Item] = Inbox(pool, self._apply, may_write, self._shorten)
        self._link = link_of(host)
        self._observer = HostObserver(self._link, self._on_event)

    def start(self) -> None:
        """Returns at once; the connection is made on the link's own thread."""
        self._crew.submit(lambda: self._guarded(self._observer.start))

    def close(self) -> None:
        """Returns at once. Nothing that is heard afterwards is written."""
        self._closed = True
        self._inbox.close()
        links.drop(self._link.address)  # a closed link's observer has nobody to wait for
        self._crew.submit(lambda: self._guarded(self._observer.close))

    def poke(self, now: float) -> None:
        """Starts what is due. Called several times a second by the watcher's own thread."""
        self._inbox.poke()
        if self._read_again and now >= self._read_at:
            self._read()
        if now >= self._tick_at:
            self._tick_at = now + self._stats_seconds
            self._start_sampling()
        if now >= self._sweep_at:
            self._sweep_at = now + self._sweep_seconds
            self._inbox.put(Sweep())
        if self._link.state is LinkState.UP and not self._asking and self._has_agents() and self._agents.is_due():
            self._asking = True
            self._crew.submit(self._ask_agents)

    # -- heard

    def _on_event(self, event: Item) -> None:
        """The sink: libvirt's event thread comes in here and leaves at once."""
        if isinstance(event, DomainEvent):
            with self._lock:
                if self._reading and event.kind in _CHANGES:
                    self._newer.add(event.uuid)
            if event.kind == "agent" and "disconnect" not in event.detail:
                self._agents.connected(event.uuid)
        self._inbox.put(event)

    def _shorten(self, items: Sequence[Item]) -> Sequence[Item]:
        """Too much was heard while the database was away: a fresh list says it all."""
        self._reading = False
        self._agents.restart()
        links_changed = [item for item in items if isinstance(item, LinkEvent)][-1:]
        return [*links_changed, Sweep()]

    # -- applied, on the pool

    def _apply(self, items: Sequence[Item]) -> None:
        done = 0
        while done < len(items) and not self._closed:
            group = 1
            while isinstance(items[done], DomainEvent) and done + group < len(items) and isinstance(items[done + group], DomainEvent):
                group += 1
            try:
                self._apply_group(items[done : done + group])
            except AWAY as error:
                raise Interrupted(done) from error
            except Exception:
                log.exception("%s: what was heard could not be written", self.host.name)
            done += group

    def _apply_group(self, group: Sequence[Any]) -> None:
        match group[0]:
            case DomainEvent():
                if vms_observe.on_domain_events(self.host, group):
                    self._read_soon()
            case LinkEvent(up=True):
                self._numbers.forget()
                self._agents.restart()
                self._crew.submit(lambda: self._guarded(self._greet))
            case LinkEvent() as event:
                self._lost(event.error or "the connection was lost")
            case Answered(facts):
                if self._link.state is LinkState.UP:  # it may have gone since
                    hosts_observe.seen(self.host, facts)
                    self._start_reading(storage_on_host.in_use(self.host))
            case Listed(records, began):
                self._synchronize(records, began)
            case StorageSeen(found):
                storage_on_host.note(self.host, found)
                space.go_on(self.host, found)
            case AgentSaid(uuid, info):
                vms_observe.agent_seen(uuid, info)
            case GuestReported(uuid, guest):
                guest_observe.reported(uuid, guest)
            case Sweep():
                self._sweep()

    def _lost(self, error: HypervisorError | str) -> None:
        hosts_observe.lost(self.host, error)
        # Asked of the row, not of `lost`: whoever marked the host may have died before its VMs were marked.
        if Host.objects.filter(pk=self.host.pk, status=HostStatus.NON_RESPONSIVE).exists():
            vms_observe.host_lost(self.host)
            storage_observe.host_lost(self.host)

    def _sweep(self) -> None:
        """Repairs what events did not tell, or what was written over meanwhile."""
        if self._link.state is LinkState.UP:
            hosts_observe.seen(self.host)
            self._start_reading(storage_on_host.in_use(self.host))
        elif self._link.state is LinkState.DOWN:
            self._lost(self._link.last_error or "the connection was lost")

    def _synchronize(self, records: Sequence[domains.DomainRecord], began: Any) -> None:
        with self._lock:
            newer = set(self._newer)
        try:
            vms_observe.sync_host(self.host, records, began, newer)
            leftovers.tidy(self.host, records)
        except AWAY:
            raise  # these records come again, and what is heard until then is still newer
        except BaseException:
            self._reading = False
            raise
        self._reading = False

    # -- asked, on the crew

    def _guarded(self, fn: Callable[..., Any], *args: Any) -> None:
        """One host's trouble ends here."""
        try:
            fn(*args)
        except HypervisorError as error:
            log.info("%s: %s", self.host.name, error)
        except Exception:
            log.exception("%s: the watcher failed on this host", self.host.name)

    def _greet(self) -> None:
        try:
            self._inbox.put(Answered(capabilities.read(self._link)))
        except HostUnreachable:
            raise  # gone again: the link says so, too
        except HypervisorError as error:
            log.warning("%s: what it is could not be read: %s", self.host.name, error)
            self._inbox.put(Answered(None))

    def _read_soon(self) -> None:
        """Lists the host's domains, now or after the list that is under way."""
        self._read_again = True
        if time.monotonic() >= self._read_at:
            self._read()

    def _read(self) -> None:
        self._start_reading([])

    def _start_reading(self, pools: Sequence[StorageDomain]) -> None:
        with self._lock:
            if self._reading or self._closed:
                self._read_again = True
                return
            self._reading, self._read_again, self._newer = True, False, set()
        self._crew.submit(lambda: self._guarded(self._list, pools))

    def _list(self, pools: Sequence[StorageDomain]) -> None:
        began, start = timezone.now(), time.monotonic()
        listed = False
        try:
            records = domains.list_domains(self._link)
            took = time.monotonic() - start
            self._read_at = time.monotonic() + max(READ_PAUSE_SECONDS, took)
            self._inbox.put(Listed(tuple(records), began))
            listed = True
        finally:
            if not listed:
                with self._lock:
                    self._reading = False
        if pools:
            self._inbox.put(StorageSeen(tuple(storage_on_host.read(self.host, pools))))

    def _start_sampling(self) -> None:
        if self._sampling or self._closed or self._link.state is not LinkState.UP:
            return
        self._sampling = True
        self._crew.submit(lambda: self._guarded(self._sample))

    def _sample(self) -> None:
        try:
            host_sample, samples = stats.sample(self._link)
            at = time.time()
            self.heard_at = time.monotonic()
            running = {sample.uuid for sample in samples if sample.state == domains.DomainState.RUNNING}
            self._agents.running(running)
            self._reports.running(running)
            values = self._numbers.take(host_sample, samples)
        finally:
            self._sampling = False
        if values:
            self._on_values(at, values)

    def _has_agents(self) -> bool:
        return "agent" in self.host.capabilities.get("features", ())

    def _ask_agents(self) -> None:
        try:
            self._guarded(self._agents.round)
        finally:
            self._asking = False

    def _ask_agent(self, uuid: str) -> AgentInfo | None:
        """None from a guest without an agent, which says so at once, and from one that hangs."""
        if not self._closed:
            with suppress(HypervisorError):
                info = agent_info(self._link, uuid)
                self._ask_for_all(uuid)
                return info
        return None

    def _ask_for_all(self, uuid: str) -> None:
        if self._reports.is_due(uuid):
            self._reports.asked(uuid)
            with suppress(HypervisorError):
                self._inbox.put(GuestReported(uuid, guest_facts(self._link, uuid)))
