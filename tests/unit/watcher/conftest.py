"""A watched host of libvirt's test driver, in a world of its own."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hosts.models import Host
from hypervisor.crew import Crew
from hypervisor.links import HostLink, links
from tests.build import make_host, make_vm
from tests.waiting import until
from vms.models import VM, VmOrigin, VmStatus
from watcher.host_watch import HostWatch

DOMAIN = "<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>8192</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>"


def write_node(path: Path, domains: dict[str, str]) -> str:
    """A file that `test://` opens: name -> UUID of domains, which all run. Returns the URI."""
    xml = "".join(DOMAIN.format(name=name, uuid=key) for name, key in domains.items())
    path.write_text(f"<node><cpu><mhz>2000</mhz><active>4</active></cpu><memory>4194304</memory>{xml}</node>")
    return f"test://{path}"


@dataclass
class Watched:
    """A host under observation.

    Attributes:
        vms: rows of its domains, by name.
        may_write: cleared, the watch has lost its lease.
    """

    host: Host
    vms: dict[str, VM]
    may_write: threading.Event
    values: list[dict[str, Any]] = field(default_factory=list)
    watch: HostWatch | None = None

    @property
    def link(self) -> HostLink:
        return self.watch._link

    def virsh(self, name: str, verb: str) -> None:
        """Does something to a domain beside Vireo."""
        self.link.call(lambda connection: getattr(connection.lookupByName(name), verb)() and None)

    def status(self, name: str) -> str:
        return VM.objects.values_list("status", flat=True).get(pk=self.vms[name].pk)

    def becomes(self, name: str, status: VmStatus, seconds: float = 5) -> None:
        until(lambda: self.status(name) == status, seconds, f"{name} to be {status}")


@pytest.fixture
def watch_host(transactional_db: None, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Makes hosts with running domains, known to Vireo, and observes them as the watcher does."""
    ends: list[Callable[[], None]] = []

    def make(*names: str, **options: Any) -> Watched:
        keys = {name: str(uuid.uuid4()) for name in names}
        host = make_host(test_uri=write_node(tmp_path / f"{uuid.uuid4()}.xml", keys), last_seen_at="2026-01-01T00:00Z", driver="Test")
        rows = {name: make_vm(id=key, name=name, host=host, status=VmStatus.UP, origin=VmOrigin.ADOPTED) for name, key in keys.items()}
        watched = Watched(Host.objects.select_related("cluster").get(pk=host.pk), rows, threading.Event())
        watched.may_write.set()
        pool, stop = ThreadPoolExecutor(4), threading.Event()
        watched.watch = watch = HostWatch(
            watched.host,
            pool,
            Crew("test-watch", 8),
            may_write=watched.may_write.is_set,
            on_values=lambda at, values: watched.values.append(values),
            **{"stats_seconds": 0.1, "sweep_seconds": 60.0, "phase": 1.0} | options,
        )

        def poke() -> None:
            while not stop.wait(0.02):
                watch.poke(time.monotonic())

        poker = threading.Thread(target=poke)
        poker.start()
        watch.start()

        def end() -> None:
            stop.set()
            poker.join()
            watch.close()
            pool.shutdown()

        ends.append(end)
        until(lambda: Host.objects.get(pk=host.pk).capabilities, 10, "the host to be read")
        until(lambda: not watch._reading and not len(watch._inbox), 10, "its first list to be applied")
        return watched

    yield make
    for end in ends:
        end()
    links.close()
