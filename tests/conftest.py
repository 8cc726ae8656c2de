"""What every test may use: a private Redis, and users to act as."""

import subprocess
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from tests.waiting import until


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
