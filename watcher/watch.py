"""The watcher's own loop: leases, ticks, sweeps. Everything that may block is done by the hosts' watches on a pool."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import redis
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from hosts import observe as hosts_observe
from hosts.connect import forget
from hosts.models import Host
from metrics import live
from metrics.history import Averager
from vms import observe as vms_observe
from watcher import leases
from watcher.host_watch import HostWatch, Values

log = logging.getLogger(__name__)

POOL_THREADS = 32
AGENT_SECONDS = 10.0
HEARD_SECONDS = 10.0
LOOP_SECONDS = 0.2


class Watch:
    """Run `run()` until `stop()`; any number of processes may do so at once."""

    def __init__(self) -> None:
        self.id = uuid4()
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="watch")
        self._hosts: dict[UUID, HostWatch] = {}
        self._stop = threading.Event()
        self._averager = Averager()
        self._values_lock = threading.Lock()
        self._heard: set[UUID] = set()
        self._due: dict[str, float] = {}

    def stop(self, *_: object) -> None:
        self._stop.set()

    def run(self) -> None:
        chores = (
            ("leases", settings.WATCHER_LEASE_SECONDS / 3, self._renew),
            ("tick", settings.WATCHER_STATS_SECONDS, self._tick),
            ("settle", 2.0, vms_observe.settle),
            ("flush", 10.0, self._flush),
            ("heard", HEARD_SECONDS, self._note_heard),
            ("agents", AGENT_SECONDS, self._ask_agents),
            ("sweep", settings.WATCHER_SWEEP_SECONDS, self._sweep),
        )
        try:
            while not self._stop.wait(LOOP_SECONDS):
                for name, seconds, chore in chores:
                    if time.monotonic() >= self._due.get(name, 0):
                        self._due[name] = time.monotonic() + seconds
                        self._try(name, chore)
        finally:
            self._end()

    def _try(self, name: str, chore: object) -> None:
        try:
            chore()  # type: ignore[operator]
        except (DatabaseError, redis.RedisError) as error:
            log.warning("%s: %s", name, error)
        finally:
            close_old_connections()

    def _renew(self) -> None:
        mine = leases.renew(self.id)
        for host_id in set(self._hosts) - mine:
            self._hosts.pop(host_id).close()
        for host in Host.objects.select_related("cluster").filter(pk__in=mine - set(self._hosts)):
            watch = self._hosts[host.pk] = HostWatch(host, self._pool, self._take_values)
            watch.start()
        self._follow_changes()

    def _follow_changes(self) -> None:
        """A host whose address was edited is watched anew."""
        for host in Host.objects.select_related("cluster").filter(pk__in=self._hosts):
            watch = self._hosts[host.pk]
            reached_by = ("transport", "address", "port", "ssh_user", "test_uri")
            if any(getattr(host, name) != getattr(watch.host, name) for name in reached_by):
                watch.close()
                forget(watch.host)
                self._hosts[host.pk] = HostWatch(host, self._pool, self._take_values)
                self._hosts[host.pk].start()
            else:
                watch.host.name, watch.host.capabilities = host.name, host.capabilities

    def _tick(self) -> None:
        for watch in self._hosts.values():
            watch.tick()

    def _sweep(self) -> None:
        for watch in self._hosts.values():
            watch.sweep()

    def _ask_agents(self) -> None:
        for watch in self._hosts.values():
            watch.ask_agents()

    def _take_values(self, at: float, values: dict[str, Values]) -> None:
        """From a host's thread: to Redis and browsers at once, to the averages for later."""
        live.put(at, values)
        with self._values_lock:
            self._averager.add(at, values)
            self._heard |= {UUID(topic.split(":", 1)[1]) for topic in values if topic.startswith("host:")}

    def _flush(self) -> None:
        with self._values_lock:
            self._averager.flush(time.time())

    def _note_heard(self) -> None:
        with self._values_lock:
            heard, self._heard = self._heard, set()
        if heard:
            hosts_observe.heard(heard)

    def _end(self) -> None:
        for watch in self._hosts.values():
            watch.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._try("leases", lambda: leases.give_back(self.id))
