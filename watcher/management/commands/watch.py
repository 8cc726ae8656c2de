"""`manage.py watch`: observes hosts until it is told to end."""

import os
import signal
from typing import Any

from django.core.management.base import BaseCommand

from watcher.watch import Watch


class Command(BaseCommand):
    help = "Observes the hosts: libvirt's events, statistics, liveness, repair."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        watch = Watch()
        signal.signal(signal.SIGTERM, watch.stop)
        signal.signal(signal.SIGINT, watch.stop)
        watch.run()
        # A call into a host that never answers holds a thread that cannot be joined.
        os._exit(0)
