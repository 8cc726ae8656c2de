"""Which processes live in a network namespace, and running commands in one. Everything is found in /proc, never guessed from a pid file."""

import os
import signal
import subprocess
import time
from pathlib import Path

NETNS_DIR = Path("/run/netns")
OWN_NETNS = Path("/proc/self/ns/net")


class LabError(Exception):
    """A host of the lab could not be made or found; the text says why."""


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Raises LabError with the command's own words."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if check and done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def exists(netns: str) -> bool:
    return (NETNS_DIR / netns).exists()


def pids_in(netns: str) -> list[int]:
    """Every process in the namespace; empty when there is no such namespace, or when a crash left its name on something else."""
    wanted = _identity(NETNS_DIR / netns)
    if wanted is None or wanted == _identity(OWN_NETNS) or wanted[0] != OWN_NETNS.stat().st_dev:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        if _identity(entry / "ns/net") == wanted:
            found.append(int(entry.name))
    return found


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells one namespace from another; None when there is none, or its process ended while we looked."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def named(prefix: str) -> list[str]:
    """The network namespaces whose names begin so."""
    return sorted(path.name for path in NETNS_DIR.glob(f"{prefix}*"))


def command_of(pid: int) -> str:
    """The short name of a process, empty when it has ended: a zombie has, once no thread of it still holds its files."""
    name, state = _stat(pid)
    return "" if state in ("Z", "X") and _threads(pid) <= 1 else name


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds it."""
    return _stat(pid)[1] == "T"


def wait_until_stopped(pid: int, seconds: float = 10) -> None:
    """A signal is only sent when kill() returns: a busy process takes it later. Raises LabError."""
    deadline = time.monotonic() + seconds
    while not is_stopped(pid):
        if time.monotonic() > deadline:
            raise LabError(f"Process {pid} did not stop")
        time.sleep(0.005)


def _stat(pid: int) -> tuple[str, str]:
    """Name and state letter of a process; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", ""
    name, rest = stat[stat.index("(") + 1 :].rsplit(")", 1)
    return name, rest.split()[0]


def find(netns: str, name: str) -> list[int]:
    return [pid for pid in pids_in(netns) if command_of(pid) == name]


def end(pids: list[int], sent: signal.Signals = signal.SIGKILL, seconds: float = 10) -> None:
    """Signals processes and returns when they are gone. Raises LabError when one stays."""
    for pid in pids:
        try:
            os.kill(pid, sent)
            if sent != signal.SIGCONT:
                os.kill(pid, signal.SIGCONT)  # a stopped process takes no other signal
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if command_of(pid)]:
        if time.monotonic() > deadline:
            raise LabError(f"processes {left} did not end")
        time.sleep(0.02)
