"""Memory of all of Vireo's processes after `make run`, idle: the sum of their proportional set sizes."""

import time
from pathlib import Path

from bench.figures import Figure
from tests.stack import Stack, free_subnet

SETTLE_SECONDS = 15  # the watcher has taken the hosts, caches are warm


def _pss_bytes(pid: int) -> int:
    try:
        with Path(f"/proc/{pid}/smaps_rollup").open() as rollup:
            return next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
    except OSError:
        return 0


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        time.sleep(SETTLE_SECONDS)
        total = sum(_pss_bytes(pid) for pid in stack.pids())
    finally:
        stack.stop()
    return [Figure("idle_memory_mib", total / 2**20, "MiB", "at most 600; two lab hosts, nobody signed in")]
