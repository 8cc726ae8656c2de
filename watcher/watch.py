"""The watcher's own threads: one keeps the leases, one does the upkeep in the database, one starts what is due at each host.

None of them calls a host, so none waits for one; and the one that gives each host its turns does not wait for the database either.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from hosts import observe as hosts_observe
from hosts.models import Host
from hypervisor.crew import Crew
from metrics import live
from metrics.history import Averager
from vms import observe as vms_observe
from watcher import leases
from watcher.host_watch import HostWatch
from watcher.numbers import Values

log = logging.getLogger(__name__)

# Few: SQLite takes one writer at a time, and each thread has a connection with a cache of its own.
DATABASE_THREADS = 4
# Calls to hosts that may be under way, or hang, at once. Threads are made when needed and go when idle.
HOST_CALLS = 1024
POKE_SECONDS = 0.1
UPKEEP_SECONDS = 2.0
HEARD_SECONDS = 10.0
END_SECONDS = 2.0
# What a change of these means: the host is elsewhere, or is reached in another way.
_REACHED_BY = ("transport", "address", "port", "ssh_user", "test_uri", "ssh_host_keys")


class Watch:
    """Run `run()` until `stop()`; any number of processes may do so at once."""

    def __init__(self) -> None:
        self.id = uuid4()
        self._pool = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="watch-db")
        self._crew = Crew("watch-host", HOST_CALLS)
        self._hosts: dict[UUID, HostWatch] = {}
        self._valid_until = 0.0
        self._stop = threading.Event()
        self._averager = Averager()
        self._heard_at = 0.0

    def stop(self, *_: object) -> None:
        self._stop.set()

    def run(self) -> None:
        own = [
            threading.Thread(target=self._repeat, args=(name, seconds, chore), name=f"watch-{name}", daemon=True)
            for name, seconds, chore in (
                ("leases", settings.WATCHER_LEASE_SECONDS / 3, self._renew),
                ("upkeep", UPKEEP_SECONDS, self._keep_up),
            )
        ]
        for thread in own:
            thread.start()
        while not self._stop.wait(POKE_SECONDS):
            now = time.monotonic()
            for watch in list(self._hosts.values()):
                watch.poke(now)
        for thread in own:
            thread.join(END_SECONDS)  # it may wait for a database that is away
        self._end()

    def _repeat(self, name: str, seconds: float, chore: Callable[[], None]) -> None:
        while True:
            began = time.monotonic()
            self._try(name, chore)
            if self._stop.wait(max(0.0, began + seconds - time.monotonic())):
                return

    @staticmethod
    def _try(name: str, chore: Callable[[], None]) -> None:
        close_old_connections()
        try:
            chore()
        except (DatabaseError, InterfaceError, redis.RedisError) as error:
            log.warning("%s: %s", name, error)
        except Exception:
            log.exception("%s failed", name)
        finally:
            close_old_connections()

    # -- leases

    def _may_write(self) -> bool:
        """False once the leases have run out by our own clock: somebody else may observe these hosts now, and know better."""
        return time.monotonic() < self._valid_until

    def _renew(self) -> None:
        began = time.monotonic()
        mine = leases.renew(self.id)
        self._valid_until = began + settings.WATCHER_LEASE_SECONDS
        for host_id in set(self._hosts) - mine:
            self._hosts.pop(host_id).close()
        # A host that is reached in another way now is watched anew.
        for row in Host.objects.filter(pk__in=self._hosts).values("pk", "name", "cluster_id", *_REACHED_BY):
            host = self._hosts[row["pk"]].host
            if any(getattr(host, name) != row[name] for name in ("cluster_id", *_REACHED_BY)):
                self._hosts.pop(host.pk).close()
            host.name = row["name"]
        for host in Host.objects.select_related("cluster").filter(pk__in=mine - set(self._hosts)):
            self._begin(host)

    def _begin(self, host: Host) -> None:
        try:
            watch = HostWatch(
                host,
                self._pool,
                self._crew,
                may_write=self._may_write,
                on_values=self._take_values,
                stats_seconds=settings.WATCHER_STATS_SECONDS,
                sweep_seconds=settings.WATCHER_SWEEP_SECONDS,
                phase=host.pk.int % 997 / 997,  # so that not all hosts are asked at the same moment
            )
        except Exception:  # of its credentials, say; the other hosts must not wait for it
            log.exception("%s cannot be watched", host.name)
            return
        watch.start()
        self._hosts[host.pk] = watch

    # -- numbers and upkeep

    def _take_values(self, at: float, values: dict[str, Values]) -> None:
        """From a host's thread: to Redis and browsers at once, to the averages for later."""
        self._averager.add(at, values)
        live.put(at, values)

    def _keep_up(self) -> None:
        self._try("settle", vms_observe.settle)
        self._try("averages", lambda: self._averager.flush(time.time()))
        now = time.monotonic()
        if now >= self._heard_at + HEARD_SECONDS:
            heard = [host_id for host_id, watch in list(self._hosts.items()) if watch.heard_at > self._heard_at]
            self._heard_at = now
            if heard:
                hosts_observe.heard(heard)

    def _end(self) -> None:
        for watch in self._hosts.values():
            watch.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._try("averages", lambda: self._averager.flush(float("inf")))
        self._try("leases", lambda: leases.give_back(self.id))
