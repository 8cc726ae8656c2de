"""One observed host: its events in order, its statistics, its repair sweep. A host that is slow or dead delays only itself."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from hosts import observe as hosts_observe
from hosts.connect import link_of
from hosts.models import Host
from hypervisor import capabilities, domains, stats
from hypervisor.errors import HypervisorError
from hypervisor.events import DomainEvent, Event, HostObserver, LinkEvent
from hypervisor.guests import agent_info
from hypervisor.links import LinkState
from hypervisor.stats import DomainSample, HostSample
from storage import observe as storage_observe
from storage import on_host as storage_on_host
from vms import observe as vms_observe
from vms.models import VM, VmStatus

log = logging.getLogger(__name__)

Values = dict[str, float | None]
BATCH = 200  # events written in one transaction
RETRY_SECONDS = 1.0  # after a database that did not answer


class HostWatch:
    """Args:
    pool: threads shared by all hosts; this host uses one at a time for events and syncs, and one for statistics.
    on_values: called with (epoch seconds, {"vm:<id>"/"host:<id>": values}) at each tick.
    """

    def __init__(self, host: Host, pool: ThreadPoolExecutor, on_values: Callable[[float, dict[str, Values]], None]) -> None:
        self.host, self._pool, self._on_values = host, pool, on_values
        self._queue: deque[Event | str] = deque()
        self._lock = threading.Lock()
        self._working = self._sampling = self._closed = False
        self._previous: dict[str, DomainSample] = {}
        self._previous_host: HostSample | None = None
        self._link = link_of(host)
        self._observer = HostObserver(self._link, self._enqueue)

    def start(self) -> None:
        """Returns at once; the connection is made on the link's own thread."""
        self._pool.submit(self._guarded, self._observer.start)

    def close(self) -> None:
        self._closed = True
        self._observer.close()

    # -- events, in order, one batch at a time

    def _enqueue(self, item: Event | str) -> None:
        """The sink: libvirt's event thread comes in here and leaves at once."""
        with self._lock:
            self._queue.append(item)
            if self._working or self._closed:
                return
            self._working = True
        self._pool.submit(self._work)

    def sweep(self) -> None:
        """Asks for a full comparison of rows and host, after what is queued."""
        if "sync" not in self._queue:
            self._enqueue("sync")

    def ask_agents(self) -> None:
        if "agents" not in self._queue:
            self._enqueue("agents")

    def _work(self) -> None:
        while not self._closed:
            with self._lock:
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                if not batch:
                    self._working = False
                    return
            self._guarded(self._handle, batch)

    def _handle(self, batch: list[Event | str]) -> None:
        try:
            self._apply(batch)
        except DatabaseError as error:
            # Nothing is lost: the rows are made equal to the host once the database is back.
            log.warning("%s: the database is away: %s", self.host.name, error)
            time.sleep(RETRY_SECONDS)
            self._queue.append("sync")

    def _apply(self, batch: list[Event | str]) -> None:
        sync = "sync" in batch
        pending: list[DomainEvent] = []
        agents = "agents" in batch
        for item in batch:
            if isinstance(item, DomainEvent):
                pending.append(item)
                agents = agents or (item.kind == "agent" and "disconnect" not in item.detail)
            elif isinstance(item, LinkEvent):
                sync = self._apply_events(pending) or sync
                pending = []
                sync = self._link_changed(item) or sync
        sync = self._apply_events(pending) or sync
        if sync:
            self._sync()
        if agents:
            self._read_agents()

    def _apply_events(self, events: list[DomainEvent]) -> bool:
        return bool(events) and vms_observe.on_domain_events(self.host, events)

    def _link_changed(self, event: LinkEvent) -> bool:
        """True when the host must be read anew."""
        if not event.up:
            self._previous = {}
            if hosts_observe.lost(self.host, event.error or "the connection was lost"):
                vms_observe.host_lost(self.host)
                storage_observe.host_lost(self.host)
            return False
        try:
            hosts_observe.seen(self.host, capabilities.read(self._link))
        except HypervisorError as error:
            log.warning("%s: capabilities could not be read: %s", self.host.name, error)
            hosts_observe.seen(self.host)
        return True

    def _sync(self) -> None:
        listed_at = timezone.now()
        try:
            records = domains.list_domains(self._link)
            vms_observe.sync_host(self.host, records, listed_at)
            storage_on_host.look(self.host)
        except HypervisorError as error:
            log.info("%s could not be read: %s", self.host.name, error)

    def _read_agents(self) -> None:
        """Each running guest's own facts; a guest without an agent says so at once."""
        if "agent" not in self.host.capabilities.get("features", ()):
            return
        running = (VmStatus.UP, VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS)
        for vm_id in VM.objects.filter(host=self.host, status__in=running).values_list("pk", flat=True)[:200]:
            try:
                vms_observe.agent_seen(vm_id, agent_info(self._link, str(vm_id)))
            except HypervisorError:
                continue

    # -- statistics

    def tick(self) -> None:
        """Asks for one sample, unless the last has not come back yet."""
        with self._lock:
            if self._sampling or self._closed or self._link.state is not LinkState.UP:
                return
            self._sampling = True
        self._pool.submit(self._guarded, self._sample)

    def _sample(self) -> None:
        try:
            host_sample, samples = stats.sample(self._link)
        except HypervisorError as error:
            log.info("%s: no statistics: %s", self.host.name, error)
            return
        finally:
            self._sampling = False
        now, values = time.time(), {}
        for current in samples:
            previous = self._previous.get(current.uuid)
            if previous is not None:
                values[f"vm:{UUID(current.uuid)}"] = _vm_values(stats.rates(previous, current), current)
        self._previous = {sample.uuid: sample for sample in samples}
        if host_sample is not None and self._previous_host is not None:
            rates = stats.host_rates(self._previous_host, host_sample)
            values[f"host:{self.host.pk}"] = {"cpu_percent": rates.cpu_percent, "memory_bytes": rates.memory_used}
        self._previous_host = host_sample
        self._on_values(now, values)

    @staticmethod
    def _guarded(fn: Callable[..., Any], *args: Any) -> None:
        """One host's trouble ends here: a thread of the pool never dies, and keeps no stale database connection."""
        close_old_connections()
        try:
            fn(*args)
        except HypervisorError as error:
            log.info("%s", error)
        except Exception:
            log.exception("the watcher failed on a host")
        finally:
            close_old_connections()


def _vm_values(rates: stats.DomainRates, sample: DomainSample) -> Values:
    """What the guest itself uses, where its balloon driver tells; otherwise what QEMU takes on the host."""
    told = sample.balloon_bytes is not None and sample.guest_unused_bytes is not None
    used = sample.balloon_bytes - sample.guest_unused_bytes if told else rates.memory_bytes  # type: ignore[operator]
    return {
        "cpu_percent": rates.cpu_percent,
        "memory_bytes": used,
        "disk_read_bps": rates.disk_rd_bps,
        "disk_write_bps": rates.disk_wr_bps,
        "net_rx_bps": rates.net_rx_bps,
        "net_tx_bps": rates.net_tx_bps,
    }
