"""The watcher's process of the event bench: `manage.py watch` as it is, and a thread that pauses and resumes domains beside it.

The test driver's hosts live in the process that opens them, so what happens there must be made to happen here.
Prints a line "VM STATUS SECONDS" for each change, with the monotonic time just before libvirt was asked for it.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Iterable

import django

RATE = 50.0  # changes a second, at random moments
BURST = 100  # domains that are paused, and resumed, as fast as libvirt does it


def _change(link: object, key: str, verb: str) -> float:
    def run(connection: object) -> float:
        domain = connection.lookupByUUIDString(key)  # type: ignore[attr-defined]
        asked_at = time.monotonic()
        getattr(domain, verb)()
        return asked_at

    return link.call(run)  # type: ignore[attr-defined]


def drive() -> None:
    """Waits until the watcher has read all hosts, then works when a line comes in, and ends when there are no more."""
    from hosts.connect import link_of
    from hosts.models import Host
    from vms.models import VM

    while Host.objects.filter(capabilities={}).exists():
        time.sleep(0.2)
    keys = {str(vm.pk): link_of(vm.host) for vm in VM.objects.select_related("host__cluster")}
    print("ready", flush=True)
    for line in sys.stdin:
        order = random.sample(sorted(keys), len(keys))  # nosec B311 # which VM, no secret
        if line.strip() == "steady":
            _make(keys, order, "suspend", "paused", RATE)
            _make(keys, order, "resume", "up", RATE)
        elif line.strip() == "pause":
            _make(keys, sorted(keys)[:BURST], "suspend", "paused", 0)
        else:
            _make(keys, sorted(keys)[:BURST], "resume", "up", 0)
        print("done", flush=True)


def _make(links: dict[str, object], order: Iterable[str], verb: str, status: str, rate: float) -> None:
    for key in order:
        if rate:
            time.sleep(random.expovariate(rate))  # noqa: S311 - arrival times
        print(key, status, repr(_change(links[key], key, verb)), flush=True)


def main() -> None:
    django.setup()
    from django.core.management import call_command

    def work() -> None:
        try:
            drive()
        finally:
            os._exit(0)  # the watcher beside it would go on for ever

    threading.Thread(target=work, daemon=True).start()
    call_command("watch")


if __name__ == "__main__":
    main()
