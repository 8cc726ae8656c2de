"""Copying a disk through us, from the call of the API until its job has ended, against `qemu-img convert` of the same file on the same host.

The peer runs in the host's namespaces: the shared directory is behind a file system of its own there.
"""

import statistics
import time
from pathlib import Path

from bench.figures import Figure
from bench.template_vm import _FILL
from hosts.pki import CertificateAuthority
from lab.cluster import Lab
from lab.node import SHARED_POINT, Node
from tests.stack import Stack, free_subnet

ROUNDS = 3
# A copy has a part that is the same whatever its size: what the API, the job and the connection take. A disk that fills seconds shows the rate.
DISK_BYTES, WRITTEN_BYTES = 5 << 30, 4 << 30


def _source(stack: Stack, shared: Path) -> tuple[dict, Path]:
    """A disk with data that no copy leaves out, and its file."""
    made = stack.api("POST", "/vms", {"name": "bench-source", "cluster": "Default", "disk_bytes": DISK_BYTES, "memory_mib": 128})
    assert made.status == 202, made
    assert stack.job_ends(made.body["job"]["id"])["status"] == "succeeded"
    stack.manage("shell", "-c", _FILL.format(shared=str(shared), written=WRITTEN_BYTES, size=DISK_BYTES))
    disk = next(row for row in stack.api("GET", "/disks").body["items"] if row["name"].startswith("bench-source"))
    return disk, next(file for file in shared.iterdir() if file.name.startswith(disk["id"]))


def _through_api(stack: Stack, disk: dict, number: int) -> tuple[float, dict]:
    begin = time.perf_counter()
    made = stack.api("POST", f"/disks/{disk['id']}/copy", {"name": f"copy-{number}", "storage_domain": disk["domain"]["name"]})
    assert made.status == 202, made
    while (job := stack._ended(made.body["job"]["id"])) is None:
        time.sleep(0.01)
    assert job["status"] == "succeeded", job
    return time.perf_counter() - begin, made.body["disk"]


def _by_qemu_img(node: Node, file: str) -> float:
    target = f"{SHARED_POINT}/peer.qcow2"
    begin = time.perf_counter()
    node.run_inside("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", f"{SHARED_POINT}/{file}", target)
    seconds = time.perf_counter() - begin
    node.run_inside("rm", target)
    return seconds


def measure() -> list[Figure]:
    name, subnet = "vireobench", free_subnet()
    stack = Stack(lab=(name, subnet))
    try:
        stack.start()
        stack.hosts_up(2)
        lab = Lab(name, subnet, stack.var / "lab" / name, CertificateAuthority(stack.var / "pki"))
        disk, file = _source(stack, lab.shared)
        ours, theirs = [], []
        for number in range(ROUNDS + 1):
            seconds, copy = _through_api(stack, disk, number)
            removed = stack.api("DELETE", f"/disks/{copy['id']}")
            assert stack.job_ends(removed.body["id"])["status"] == "succeeded"
            peer = _by_qemu_img(lab.nodes()[0], file.name)
            if number:  # the first warms both
                ours.append(seconds)
                theirs.append(peer)
    finally:
        stack.stop()
    mine, its = statistics.median(ours), statistics.median(theirs)
    note = f"at least 0.9 of qemu-img convert's rate; {WRITTEN_BYTES >> 30} GiB of data: {mine:.2f} s ours, {its:.2f} s its, median of {ROUNDS}"
    return [Figure("copy_ratio", its / mine, "ratio", note)]
