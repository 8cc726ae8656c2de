"""Running a VM through the API until its job has succeeded, against `virsh start` of the same VM on the same host."""

import statistics
import subprocess
import time
from typing import Any

from bench.figures import Figure
from tests.stack import Stack, free_subnet

ROUNDS = 11


def _power_off(stack: Stack, vm: dict[str, Any]) -> None:
    answer = stack.api("POST", f"/vms/{vm['id']}/poweroff")
    assert answer.status == 202, answer
    assert stack.job_ends(answer.body["id"])["status"] == "succeeded"


def _through_api(stack: Stack, vm: dict[str, Any]) -> float:
    begin = time.perf_counter()
    answer = stack.api("POST", f"/vms/{vm['id']}/start")
    assert answer.status == 202, answer
    while stack._ended(answer.body["id"]) is None:
        time.sleep(0.005)
    return time.perf_counter() - begin


def _by_virsh(uri: str, vm: dict[str, Any]) -> float:
    begin = time.perf_counter()
    subprocess.run(["virsh", "-q", "-c", uri, "start", vm["id"]], check=True, capture_output=True)
    return time.perf_counter() - begin


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        vm = stack.make_vm("bench-run", start=False)
        host = stack.api("GET", f"/hosts?name={vm['host']['name']}").body["items"][0]
        uri = f"qemu+tls://{host['address']}/system?pkipath={stack.manage('lab', 'client-dir')}"
        ours, theirs = [], []
        for round_number in range(ROUNDS + 1):
            seconds = (_through_api(stack, vm), 0.0)
            _power_off(stack, vm)
            seconds = (seconds[0], _by_virsh(uri, vm))
            subprocess.run(["virsh", "-q", "-c", uri, "destroy", vm["id"]], check=True, capture_output=True)
            if round_number:  # the first warms both
                ours.append(seconds[0])
                theirs.append(seconds[1])
    finally:
        stack.stop()
    overhead = (statistics.median(ours) - statistics.median(theirs)) * 1000
    return [
        Figure(
            "run_overhead_ms", overhead, "ms", f"at most 150 over virsh start, median {statistics.median(theirs) * 1000:.0f} ms of {ROUNDS}"
        )
    ]
