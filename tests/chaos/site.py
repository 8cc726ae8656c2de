"""The cluster that faults are done to: the whole stack as a user starts it, three real hosts, and VMs that matter."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import namespaces
from tests.stack import Stack, free_subnet
from tests.waiting import until

HOSTS, PROTECTED, PLAIN = 3, 5, 2
# Short, so that many faults fit into a quarter of an hour.
FENCE_AFTER_SECONDS = 12


class Site:
    def __init__(self) -> None:
        self.stack = Stack(lab=("chaos", free_subnet()))
        self.names: list[str] = []

    def up(self) -> None:
        self.stack.start()
        self.stack.manage("lab", "up", "--hosts", str(HOSTS))
        self.stack.manage("bootstrap", "--lab")
        self.stack.hosts_up(HOSTS)
        self._use_its_database()
        from hosts.models import Cluster

        Cluster.objects.update(fence_after_seconds=FENCE_AFTER_SECONDS)
        for number in range(PROTECTED + PLAIN):
            self._vm(f"vm{number}", number < PROTECTED)

    def _vm(self, name: str, protected: bool) -> None:
        body = {"name": name, "cluster": "Default", "template": "Tiny Linux", "storage_domain": "shared", "memory_mib": 96, "start": True}
        answer = self.stack.api("POST", "/vms", body)
        assert answer.status == 202, answer
        job = self.stack.job_ends(answer.body["job"]["id"], 180)
        assert job["status"] == "succeeded", job
        if protected:
            answer = self.stack.api("PATCH", f"/vms/{answer.body['vm']['id']}", {"highly_available": True})
            assert answer.status == 200, answer
        self.names.append(name)

    def _use_its_database(self) -> None:
        """Rows are read past Vireo, so that what Vireo says can be held against them."""
        os.environ.update(self.stack.environment)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
        import django

        django.setup()

    @property
    def lab(self) -> Any:
        from django.conf import settings

        from lab.settings import default_lab

        return default_lab(settings.VAR, HOSTS)

    def down(self) -> None:
        try:
            self.stack.manage("lab", "down", "--purge")
        finally:
            self.stack.stop()

    # -- what really runs

    def qemus(self) -> list[tuple[str, str, int]]:
        """(VM's id, host, pid) of every QEMU that lives, whatever libvirt says."""
        return [found for node in self.lab.nodes() for pid in namespaces.pids_in(node.wiring.netns) if (found := _guest(node.name, pid))]

    # -- faults on Vireo itself

    def kill_vireo(self) -> None:
        """Every process of it at once, Redis too, and a new start."""
        for pid in self.stack.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.stack.start()


def _guest(host: str, pid: int) -> tuple[str, str, int] | None:
    if not namespaces.command_of(pid).startswith("qemu"):
        return None
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return None
    if "-uuid" not in words or any("vireo-workbench" in word for word in words):
        return None
    return words[words.index("-uuid") + 1], host, pid


@contextmanager
def site() -> Iterator[Site]:
    made = Site()
    try:
        made.up()
        yield made
    finally:
        made.down()


def wait(check: Callable[[], Any], seconds: float, what: str) -> Any:
    return until(check, seconds, what, every=0.5)
