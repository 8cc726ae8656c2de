"""What every test may use: a private Redis, and users to act as."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from audit import guards
from tests.waiting import until

# Real passwords take a third of a second each to hash, and nearly every test makes a user; what is tested of hashing asks for its own.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture(scope="session", autouse=True)
def redis_server() -> Iterator[subprocess.Popen[bytes]]:
    """A Redis on a Unix socket under the tests' VAR, without persistence."""
    socket = settings.RUN_DIR / "redis.sock"
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(settings.RUN_DIR)],
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: _answers(settings.REDIS_URL), 10, "Redis to answer")
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Tests that commit empty all tables after them, which the audit log's guards refuse; its own tests put them back."""
    with django_db_blocker.unblock():
        guards.remove(connection)
