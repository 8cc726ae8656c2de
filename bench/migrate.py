"""Moving a running VM through us, from the call of the API until its job has ended, against `virsh migrate --live` of the same guest back again."""

import re
import statistics
import subprocess
import time

from bench.figures import Figure
from tests.stack import Stack, free_subnet
from tests.waiting import until

ROUNDS = 5
# QEMU migrates no clipboard channel: our job unplugs it, so the peer's guest must be without it too.
_UNPLUG = """
from hosts.connect import link_of
from hypervisor.migration import take_clipboard
from vms.models import VM
vm = VM.objects.select_related("host").get(pk={vm!r})
take_clipboard(link_of(vm.host), str(vm.pk))
"""


def _through_api(stack: Stack, vm: str, target: str) -> float:
    begin = time.perf_counter()
    answer = stack.api("POST", f"/vms/{vm}/migrate", {"host": target})
    assert answer.status == 202, answer
    while (job := stack._ended(answer.body["id"])) is None:
        time.sleep(0.005)
    assert job["status"] == "succeeded", job
    return time.perf_counter() - begin


def by_virsh(source: str, target: str, address: str, vm: str) -> float:
    flags = ("--live", "--p2p", "--tls", "--persistent", "--undefinesource", "--auto-converge")
    command = ["virsh", "-q", "-c", source, "migrate", *flags, vm, target.partition("?")[0], f"tcp://{address}"]
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def _downtime(uri: str, vm: str) -> float:
    """Milliseconds that the guest stood still in its last move, as the host where it arrived says."""
    told = subprocess.run(["virsh", "-c", uri, "domjobinfo", vm, "--completed"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Total downtime:\s+(\d+)", told)
    return float(found[1]) if found else 0.0


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        vm = stack.make_vm("bench-move")["id"]
        hosts = {host["name"]: host for host in stack.api("GET", "/hosts").body["items"]}
        pki = stack.manage("lab", "client-dir")
        uris = {name: f"qemu+tls://{host['address']}/system?pkipath={pki}" for name, host in hosts.items()}

        def where() -> str:
            return stack.api("GET", f"/vms/{vm}").body["host"]["name"]

        ours, theirs, stood_still = [], [], ([], [])
        for number in range(ROUNDS + 1):
            source = where()
            target = next(name for name in hosts if name != source)
            mine = _through_api(stack, vm, target)
            still = _downtime(uris[target], vm)
            stack.manage("shell", "-c", _UNPLUG.format(vm=vm))
            peer = by_virsh(uris[target], uris[source], hosts[source]["address"], vm)
            until(lambda source=source: where() == source, 20, "the watcher to see that it came back")
            if number:  # the first warms both
                ours.append(mine)
                theirs.append(peer)
                stood_still[0].append(still)
                stood_still[1].append(_downtime(uris[source], vm))
    finally:
        stack.stop()
    mine, peer = statistics.median(ours), statistics.median(theirs)
    limit = 1.05 * peer + 0.15
    note = f"virsh migrate --live: median {peer * 1000:.0f} ms of {ROUNDS}; downtime {statistics.median(stood_still[0]):.0f} ms ours, {statistics.median(stood_still[1]):.0f} ms its"
    return [
        Figure("migration_overhead_ms", (mine - peer) * 1000, "ms", f"at most {(limit - peer) * 1000:.0f} over {note}"),
        Figure("migration_ratio", mine / peer, "ratio", f"at most {limit / peer:.2f} of {note}"),
    ]
