"""`manage.py watch`: observes hosts until it is told to end."""

import os
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections

from watcher.watch import Watch

CONNECTION_SECONDS = 600
SWITCH_SECONDS = 0.001


class Command(BaseCommand):
    help = "Observes the hosts: libvirt's events, statistics, liveness, repair."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        # Events come one by one: a new connection to the database for each would take longer than all the rest.
        connections.settings["default"] |= {"CONN_MAX_AGE": CONNECTION_SECONDS, "CONN_HEALTH_CHECKS": True}
        # libvirt's event thread waits at most this long for a thread that is reading statistics (5 ms by default).
        sys.setswitchinterval(SWITCH_SECONDS)
        watch = Watch()
        signal.signal(signal.SIGTERM, watch.stop)
        signal.signal(signal.SIGINT, watch.stop)
        watch.run()
        # A call into a host that never answers holds a thread that cannot be joined.
        os._exit(0)
