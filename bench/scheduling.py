"""One placement among 2,500 hosts, and plans for a cluster of 45,000 guests: pure functions, in this process."""

import random
import statistics
import time
from collections.abc import Callable

from bench.figures import Figure
from hosts.scheduling import balance
from hosts.scheduling.choose import decide
from hosts.scheduling.reserve import can_lose
from hosts.scheduling.world import Affinity, Guest, HostView, Policy, World

HOSTS, GUESTS, PLACEMENTS, MOVES = 2_500, 45_000, 200, 1_000


def cluster() -> World:
    """Uneven, with soft and hard groups, storage, networks and CPU models to judge."""
    pick = random.Random(7)  # noqa: S311  # nosec B311 # the same cluster each time
    has = {"storage": frozenset("ab"), "networks": frozenset("n"), "cpu_models": frozenset({"EPYC"})}
    hosts = tuple(HostView(id=f"h{n}", name=f"host{n:04}", memory_mib=65536, cpus=32, **has) for n in range(HOSTS))
    guests = tuple(
        Guest(
            id=f"g{n}",
            name=f"vm{n}",
            host=f"h{int(pick.triangular(0, HOSTS, 0))}",
            memory_mib=pick.choice((512, 1024, 2048)),
            vcpus=pick.choice((1, 2, 4)),
            highly_available=n % 3 == 0,
            cpu_model="EPYC",
            needs_storage={"a": "disks"},
        )
        for n in range(GUESTS)
    )
    groups = tuple(
        Affinity(name=f"f{n}", members=frozenset(f"g{pick.randrange(GUESTS)}" for _ in range(4)), positive=bool(n % 2), hard=False)
        for n in range(1_000)
    )
    return World(hosts=hosts, guests=guests, affinities=groups, policy=Policy(weights={"even": 1.0, "affinity": 0.5}))


def measure() -> list[Figure]:
    there = cluster()
    new = Guest(id="new", name="new", memory_mib=2048, cpu_model="EPYC", needs_storage={"a": "disks"}, needs_networks={"n": "guests"})
    decide(there, new)  # the snapshot's own sums are made once, by whoever asks first
    placements = [_seconds(lambda: decide(there, new)) for _ in range(PLACEMENTS)]
    even, packed = _seconds(lambda: balance.even(there, MOVES)), _seconds(lambda: balance.packed(there, MOVES))
    reserve = _seconds(lambda: can_lose(there))
    return [
        Figure(
            "placement_ms",
            statistics.quantiles(placements, n=20)[-1] * 1000,
            "ms",
            f"at most 10; p95, every one of {HOSTS} hosts judged and ranked",
        ),
        Figure(
            "balance_plan_s",
            max(even, packed),
            "s",
            f"at most 10; {MOVES} moves of {GUESTS} guests: even {even:.2f}, packed {packed:.2f}; what it can lose {reserve:.2f} s",
        ),
    ]


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
