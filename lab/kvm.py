"""Whether this machine's KVM really runs a guest. A /dev/kvm that opens proves nothing: under some, every kernel hangs."""

import json
import os
import platform
import subprocess
import threading
from pathlib import Path

from lab.guest import GuestImage

BANNER = b"Vireo tiny Linux"
# A working KVM shows the banner within a second or two, also when it is nested.
PROBE_SECONDS = 12.0
DEVICE = Path("/dev/kvm")


def probe_kvm(image: GuestImage) -> bool:
    """Boots the tiny guest under KVM and waits for its banner; the answer is kept beside the image until CPU, kernel or QEMU change."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    kept, machine = image.disk.with_name("kvm.json"), _machine()
    try:
        known = json.loads(kept.read_text())
        if known["machine"] == machine:
            return bool(known["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none kept, or half of one
    runs = boots(image, "kvm", PROBE_SECONDS)
    draft = kept.with_name(f".kvm.{os.getpid()}")
    draft.write_text(json.dumps({"machine": machine, "runs": runs}))
    draft.replace(kept)
    return runs


def boots(image: GuestImage, accelerator: str, seconds: float) -> bool:
    """Whether the guest shows its banner in that time under "kvm" or "tcg". Nothing of it stays."""
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", accelerator,
        "-cpu", "qemu64", "-m", "128", "-serial", "stdio", "-drive", f"file={image.disk},if=virtio,format=qcow2,snapshot=on",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as process:
        assert process.stdout is not None
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        try:
            shown = b""
            while part := process.stdout.read(4096):
                shown = shown[-len(BANNER) :] + part
                if BANNER in shown:
                    return True
            return False
        finally:
            limit.cancel()
            process.kill()


def _machine() -> str:
    """What the answer depends on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    qemu = subprocess.run(["qemu-system-x86_64", "-version"], capture_output=True, text=True).stdout.splitlines()
    return " / ".join([cpu, platform.release(), platform.version(), *qemu[:1]])
