"""Vireo's own processes for tests, on the test's database and Redis."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent


def environment(**extra: str) -> dict[str, str]:
    """The test's own VAR and the database that the test writes."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        url = f"postgres://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    return os.environ | {"DATABASE_URL": url, "VIREO_VAR": str(settings.VAR), "DJANGO_SETTINGS_MODULE": "portal.settings", **extra}


@contextmanager
def running(*command: str, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process of ours, killed at the end."""
    log = (settings.LOG_DIR / f"{Path(command[0]).name}-{os.getpid()}.log").open("ab")
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment(**extra), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def watcher(**extra: str):
    return running("manage.py", "watch", **extra)


def worker(**extra: str):
    return running("-m", "celery", "--app", "portal", "worker", "--pool", "threads", "--concurrency", "4", "--loglevel", "WARNING", **extra)
