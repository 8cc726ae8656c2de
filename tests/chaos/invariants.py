"""What must hold: all the time, and once things have settled after a fault."""

import threading
import time
from collections import Counter
from typing import Any

from lab.node import NodeState
from tests.chaos.site import Site

# A QEMU that is refused by the lease of its disk lives for a moment, paused; past this it runs.
TWICE_SECONDS = 6
SETTLE_SECONDS = 300


class Watch(threading.Thread):
    """Looks twice a second whether a VM runs at two hosts. `found` is what it saw, in words."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.found = site, []  # type: ignore[var-annotated]
        self._since: dict[str, float] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.5):
            places: dict[str, set[str]] = {}
            for vm, host, _pid in self.site.qemus():
                places.setdefault(vm, set()).add(host)
            twice = {vm: hosts for vm, hosts in places.items() if len(hosts) > 1 and not _moves(vm)}
            self._since = {vm: self._since.get(vm, time.monotonic()) for vm in twice}
            for vm, since in self._since.items():
                if time.monotonic() - since > TWICE_SECONDS:
                    self.found.append(f"VM {vm} runs at {', '.join(sorted(twice[vm]))}")

    def end(self) -> None:
        self._ended.set()
        self.join()


def _moves(vm: str) -> bool:
    """A VM that moves has a QEMU at both ends, of which one stands still."""
    from jobs.models import Job, JobStatus

    return Job.objects.filter(kind="vm.migrate", object_id=vm).exclude(status__in=JobStatus.finished()).exists()


def unsettled(site: Site) -> str:
    """What is still under way; empty once all is quiet."""
    from django.db import OperationalError

    from hosts.models import Host, HostStatus
    from jobs.models import Job, JobStatus
    from vms.models import VM, Restart, VmStatus

    if dead := [host.name for host in site.lab.status() if host.state != NodeState.UP]:
        return f"hosts of the lab are not up: {dead}"
    try:
        if hosts := list(Host.objects.exclude(status=HostStatus.UP).values_list("name", "status", "status_reason")):
            return f"hosts are not up: {hosts}"
        if jobs := list(Job.objects.exclude(status__in=JobStatus.finished()).values_list("title", "status", "message")):
            return f"jobs run: {jobs}"
        if waits := list(Restart.objects.filter(given_up=False).values_list("vm__name", "cause", "error")):
            return f"VMs wait to run again: {waits}"
        down = VM.objects.filter(highly_available=True).exclude(status=VmStatus.UP).values_list("name", "status", "status_reason")
        if rows := list(down):
            return f"protected VMs do not run: {rows}"
    except OperationalError as error:
        return f"the database: {error}"
    return ""


def broken(site: Site) -> list[str]:
    """What does not hold now that all is quiet."""
    return [*_not_as_rows_say(site), *_lost_disks(site), *_stuck_locks()]


def _not_as_rows_say(site: Site) -> list[str]:
    from vms.models import VM, VmStatus

    running: Any = Counter()
    where: dict[str, str] = {}
    for vm, host, _pid in site.qemus():
        running[vm] += 1
        where[vm] = host
    found = []
    for vm in VM.objects.select_related("host"):
        wanted = 0 if vm.status in (VmStatus.DOWN, VmStatus.SUSPENDED) else 1
        if running[str(vm.pk)] != wanted:
            found.append(f"{vm.name} is {vm.status}, and {running[str(vm.pk)]} QEMUs of it run")
        elif wanted and where[str(vm.pk)] != str(vm.host):
            found.append(f"{vm.name} runs at {where[str(vm.pk)]}, and its row says {vm.host}")
    return found


def _lost_disks(site: Site) -> list[str]:
    from storage.models import Disk

    files = {path.name for path in site.lab.shared.iterdir()}
    shared = Disk.objects.filter(domain__name="shared")
    return [f"the file of disk {disk.name} is gone" for disk in shared if disk.path.rsplit("/", 1)[-1] not in files]


def _stuck_locks() -> list[str]:
    from jobs.models import JobStatus, Lock

    stuck = Lock.objects.filter(job__status__in=JobStatus.finished())
    return [f"job «{lock.job.title}» has ended and still holds {lock.object_type} {lock.object_id}" for lock in stuck]
