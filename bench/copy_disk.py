"""Copying a disk through us, from the call of the API until its job has ended, against `qemu-img convert` of the same file in the same directory."""

import statistics
import subprocess
import time
from pathlib import Path

from bench.figures import Figure
from bench.template_vm import _FILL
from tests.stack import Stack, free_subnet

ROUNDS = 3
DISK_BYTES, WRITTEN_BYTES = 2 << 30, 1 << 30


def _source(stack: Stack, shared: Path) -> tuple[dict, Path]:
    """A disk with 1 GiB of data that no copy leaves out, and its file."""
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


def _by_qemu_img(file: Path) -> float:
    target = file.with_suffix(".peer")
    begin = time.perf_counter()
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", str(file), str(target)], check=True)
    seconds = time.perf_counter() - begin
    target.unlink()
    return seconds


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        assert stack.lab is not None
        disk, file = _source(stack, stack.var / "lab" / stack.lab[0] / "shared")
        ours, theirs = [], []
        for number in range(ROUNDS + 1):
            seconds, copy = _through_api(stack, disk, number)
            removed = stack.api("DELETE", f"/disks/{copy['id']}")
            assert stack.job_ends(removed.body["id"])["status"] == "succeeded"
            if number:  # the first warms both
                ours.append(seconds)
                theirs.append(_by_qemu_img(file))
    finally:
        stack.stop()
    peer = f"at least 0.9 of qemu-img convert, median {statistics.median(theirs):.2f} s of {ROUNDS}; 1 GiB of data"
    return [Figure("copy_ratio", statistics.median(theirs) / statistics.median(ours), "ratio", peer)]
