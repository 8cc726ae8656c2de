"""A thread in every worker that sweeps: jobs recover even when beat is down or Redis came back empty."""

import logging
import threading
from typing import Any

from celery.signals import worker_ready, worker_shutdown
from django.db import DatabaseError, close_old_connections

from jobs import engine

log = logging.getLogger(__name__)
SWEEP_SECONDS = 2.0
_stop = threading.Event()


def _sweep_until_stopped() -> None:
    while not _stop.wait(SWEEP_SECONDS):
        try:
            engine.sweep()
        except DatabaseError as error:
            log.warning("the sweep could not read the jobs: %s", error)
        finally:
            close_old_connections()


@worker_ready.connect
def start(**_: Any) -> None:
    threading.Thread(target=_sweep_until_stopped, name="job-sweeper", daemon=True).start()


@worker_shutdown.connect
def stop(**_: Any) -> None:
    _stop.set()
