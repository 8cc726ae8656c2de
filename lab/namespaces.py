"""Which processes live in a network namespace, and running commands in one. Everything is found in /proc, never guessed from a pid file."""

import os
import signal
import subprocess
import time
from pathlib import Path

NETNS_DIR = Path("/run/netns")


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
    """Every process in the namespace; empty when there is no such namespace."""
    try:
        wanted = (NETNS_DIR / netns).stat().st_ino
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "ns/net").stat().st_ino == wanted:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while we looked
    return found


def command_of(pid: int) -> str:
    """The short name of a process, empty when it has ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    name, rest = stat[stat.index("(") + 1 :].rsplit(")", 1)
    return "" if rest.split()[0] == "Z" else name


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
