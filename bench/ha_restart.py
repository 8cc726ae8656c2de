"""From the death of a host, all of its processes at once, to its highly available VM running elsewhere; each part of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bench.figures import Figure
from tests.stack import Stack, free_subnet
from tests.waiting import until

# The policy's patience is the site's to choose, and no work of ours: it is short here, and taken off the sum.
PATIENCE_SECONDS = 10


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        hosts = {host["name"]: host for host in stack.api("GET", "/hosts").body["items"]}
        cluster = next(iter(hosts.values()))["cluster"]["id"]
        assert stack.api("PATCH", f"/clusters/{cluster}/fencing", {"fence_after_seconds": PATIENCE_SECONDS}).status == 200
        vm = stack.make_vm("bench-ha")["id"]
        assert stack.api("PATCH", f"/vms/{vm}", {"highly_available": True}).status == 200
        home = hosts[stack.api("GET", f"/vms/{vm}").body["host"]["name"]]
        stack.manage("lab", "kill-host", home["name"])
        died = datetime.now(UTC)

        def host_is(*statuses: str) -> Callable[[], Any]:
            return lambda: stack.api("GET", f"/hosts/{home['id']}").body["status"] in statuses

        def runs_elsewhere() -> bool:
            found = stack.api("GET", f"/vms/{vm}").body
            return found["status"] in ("powering_up", "up") and found["host"]["name"] != home["name"]

        seen = _when(host_is("non_responsive", "fencing"), died)
        fencing = _when(host_is("fencing", "down"), died)
        off = _when(host_is("down", "up"), died)  # it may be on again by the time that we look
        runs = _when(runs_elsewhere, died)
    finally:
        stack.stop()
    parts = f"detection {seen:.1f} s, the policy's patience {PATIENCE_SECONDS} s, decision {fencing - seen - PATIENCE_SECONDS:.1f} s, "
    parts += f"fencing {off - fencing:.1f} s, placement and start {runs - off:.1f} s"
    return [Figure("ha_restart_s", runs, "s", f"at most {60 + PATIENCE_SECONDS}; {parts}")]


def _when(check: Callable[[], Any], died: datetime) -> float:
    """Seconds from the host's death to the moment that this is seen."""
    until(check, 120, "the next part", every=0.02)
    return (datetime.now(UTC) - died).total_seconds()
