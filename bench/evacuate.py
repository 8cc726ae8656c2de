"""Emptying a host of twenty small guests through us, against as many `virsh migrate --live` at the same time of the same guests back again."""

import time
from concurrent.futures import ThreadPoolExecutor

from bench.figures import Figure
from bench.migrate import by_virsh
from tests.stack import Stack, free_subnet
from tests.waiting import until

GUESTS, AT_ONCE = 20, 4
# QEMU migrates no clipboard channel: our job unplugs it, so the peer's guests must be without it too.
_UNPLUG = """
from hosts.connect import link_of
from hypervisor.migration import take_clipboard
from vms.models import VM
for vm in VM.objects.select_related("host"):
    take_clipboard(link_of(vm.host), str(vm.pk))
"""
_LIMITS = f"from hosts.models import Cluster; Cluster.objects.update(migrations_per_host={AT_ONCE}, migrations_at_once={AT_ONCE})"


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        stack.manage("shell", "-c", _LIMITS)
        hosts = {host["name"]: host for host in stack.api("GET", "/hosts").body["items"]}
        pki = stack.manage("lab", "client-dir")
        uris = {name: f"qemu+tls://{host['address']}/system?pkipath={pki}" for name, host in hosts.items()}
        full, other = sorted(hosts)
        ids = [_make(stack, f"guest-{number}", full) for number in range(GUESTS)]
        until(lambda: stack.api("GET", "/vms?status=up").body["count"] == GUESTS, 180, "all guests to be up", every=0.5)
        begin = time.perf_counter()
        answer = stack.api("POST", f"/hosts/{hosts[full]['id']}/maintenance", {})
        assert answer.status == 202, answer
        job = stack.job_ends(answer.body["id"], 600)
        mine = time.perf_counter() - begin
        assert job["status"] == "succeeded", job
        stack.manage("shell", "-c", _UNPLUG)
        begin = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda vm: by_virsh(uris[other], uris[full], hosts[full]["address"], vm), ids))
        peer = time.perf_counter() - begin
    finally:
        stack.stop()
    note = f"at least 0.9 of virsh's rate; {GUESTS} guests, {AT_ONCE} at once: {mine:.1f} s ours, {peer:.1f} s its"
    return [Figure("evacuation_ratio", peer / mine, "ratio", note)]


def _make(stack: Stack, name: str, host: str) -> str:
    body = {"name": name, "cluster": "Default", "template": "Tiny Linux", "storage_domain": "shared", "memory_mib": 96, "host": host}
    answer = stack.api("POST", "/vms", body | {"start": True})
    assert answer.status == 202, answer
    job = stack.job_ends(answer.body["job"]["id"], 120)
    assert job["status"] == "succeeded", job
    return str(answer.body["vm"]["id"])
