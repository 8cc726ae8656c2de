"""A VM of a 2 GiB template, from the call of the API until its job has it running, against `virsh start` of the same VM on the same host."""

import statistics
import subprocess
import time

from bench.figures import Figure
from bench.run_vm import _by_virsh
from tests.stack import Stack, free_subnet

ROUNDS = 5
TEMPLATE = "Two GiB"
TEMPLATE_BYTES = 2 << 30
# Data that no file system leaves out, so that a copy of it would show in the time.
WRITTEN_BYTES = 1 << 30
_FILL = """
import os
from pathlib import Path
from storage.models import Disk
disk = Disk.objects.get(attachments__vm__name="bench-source")
file = Path({shared!r}) / disk.volume_name
import subprocess
raw = file.with_suffix(".raw")
with raw.open("wb") as out:
    block = os.urandom(1 << 24)
    for _ in range({written} >> 24):
        out.write(block)
    out.truncate({size})
subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(file)], check=True)
raw.unlink()
"""


def _make_template(stack: Stack) -> None:
    """Of a VM whose disk has 1 GiB of data in it: a template that is no small one."""
    assert stack.lab is not None
    body = {"name": "bench-source", "cluster": "Default", "disk_bytes": TEMPLATE_BYTES, "memory_mib": 128}
    source = stack.api("POST", "/vms", body)
    assert source.status == 202, source
    assert stack.job_ends(source.body["job"]["id"])["status"] == "succeeded"
    shared = str(stack.var / "lab" / stack.lab[0] / "shared")
    stack.manage("shell", "-c", _FILL.format(shared=shared, written=WRITTEN_BYTES, size=TEMPLATE_BYTES))
    made = stack.api("POST", "/templates", {"vm": source.body["vm"]["id"], "name": TEMPLATE})
    assert made.status == 202, made
    assert stack.job_ends(made.body["id"], 300)["status"] == "succeeded"


def _through_api(stack: Stack, name: str) -> tuple[float, dict]:
    """A new VM that runs, and how long that took."""
    begin = time.perf_counter()
    made = stack.api(
        "POST", "/vms", {"name": name, "cluster": "Default", "template": TEMPLATE, "start": True, "first_boot": {"user": "bench"}}
    )
    assert made.status == 202, made
    while (job := stack._ended(made.body["job"]["id"])) is None:
        time.sleep(0.01)
    seconds = time.perf_counter() - begin
    assert job["status"] == "succeeded", job
    return seconds, stack.api("GET", f"/vms/{made.body['vm']['id']}").body


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        _make_template(stack)
        ours, theirs = [], []
        for number in range(ROUNDS + 1):
            seconds, vm = _through_api(stack, f"bench-{number}")
            host = stack.api("GET", f"/hosts?name={vm['host']['name']}").body["items"][0]
            uri = f"qemu+tls://{host['address']}/system?pkipath={stack.manage('lab', 'client-dir')}"
            subprocess.run(["virsh", "-q", "-c", uri, "destroy", vm["id"]], check=True, capture_output=True)
            virsh = _by_virsh(uri, vm)
            subprocess.run(["virsh", "-q", "-c", uri, "destroy", vm["id"]], check=True, capture_output=True)
            if number:  # the first warms both
                ours.append(seconds)
                theirs.append(virsh)
    finally:
        stack.stop()
    overhead = statistics.median(ours) - statistics.median(theirs)
    return [
        Figure(
            "template_vm_overhead_s",
            overhead,
            "s",
            f"at most 3 over virsh start, median {statistics.median(theirs):.2f} s of {ROUNDS}; 2 GiB template",
        )
    ]
