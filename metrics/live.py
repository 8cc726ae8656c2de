"""Live values: the latest of each object, the last minutes at full resolution, and frames for the browsers that look.

Everything here is in Redis and may be lost at any time: the next tick writes it again.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from django.conf import settings

from portal.live import publish_to

log = logging.getLogger(__name__)

WATCHED_KEY = "vireo:watched"
RING_LENGTH = 150  # raw points kept per object: five minutes at one each 2 s
RING_SECONDS = 600
STALE_SECONDS = 30  # an older value is no longer shown as "now"
COMPLAIN_SECONDS = 60

METRICS = ("cpu_percent", "memory_bytes", "disk_read_bps", "disk_write_bps", "net_rx_bps", "net_tx_bps")
Values = Mapping[str, float | None]

_client: redis.Redis | None = None
_complained_at = 0.0


def client() -> redis.Redis:
    """The process's pool of connections."""
    global _client
    if _client is None:
        _client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)
    return _client


def _complain(error: redis.RedisError) -> None:
    """Once a minute, not at every tick of every host."""
    global _complained_at
    if time.monotonic() >= _complained_at + COMPLAIN_SECONDS:
        _complained_at = time.monotonic()
        log.warning("live values could not be kept: %s", error)


def _ring_key(topic: str) -> str:
    return f"vireo:ring:{topic}"


def _packed(at: float, values: Values) -> str:
    """One point as a short array: there are 150 of them for each object, all in memory."""
    return json.dumps([round(at, 1), *(_short(values.get(name)) for name in METRICS)], separators=(",", ":"))


def _short(value: float | None) -> float | None:
    return value if value is None else round(value, 1) if value < 1000 else round(value)


def _unpacked(line: bytes) -> dict[str, Any]:
    at, *values = json.loads(line)
    return {"at": at, **{name: value for name, value in zip(METRICS, values, strict=True) if value is not None}}


def put(at: float, values_of: Mapping[str, Values]) -> None:
    """One tick of one host: its own values and its VMs'.

    Args:
        at: seconds since the epoch.
        values_of: "vm:<id>" or "host:<id>" -> values by METRICS' names; None is a gap.
    """
    if not values_of:
        return
    try:
        with client().pipeline(transaction=False) as pipe:
            for topic, values in values_of.items():
                key = _ring_key(topic)
                pipe.rpush(key, _packed(at, values))
                pipe.ltrim(key, -RING_LENGTH, -1)
                pipe.expire(key, RING_SECONDS)
            pipe.zrangebyscore(WATCHED_KEY, time.time(), "+inf")
            watched = pipe.execute()[-1]
    except redis.RedisError as error:
        _complain(error)
        return
    for topic in {name.decode().removeprefix("metrics:") for name in watched} & values_of.keys():
        publish_to(f"metrics:{topic}", {"type": "live.metrics", "topic": f"metrics:{topic}", "at": at, "values": dict(values_of[topic])})


def latest(topics: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The values shown as "now", with one round trip; an object without recent values is absent, and so is all when Redis is away."""
    names = list(topics)
    if not names:
        return {}
    try:
        with client().pipeline(transaction=False) as pipe:
            for topic in names:
                pipe.lindex(_ring_key(topic), -1)
            lines = pipe.execute()
    except redis.RedisError:
        return {}
    oldest = time.time() - STALE_SECONDS
    found = {topic: _unpacked(line) for topic, line in zip(names, lines, strict=True) if line}
    return {topic: values for topic, values in found.items() if values["at"] >= oldest}


def recent(topic: str) -> list[dict[str, Any]]:
    """The raw points of the last minutes, oldest first."""
    try:
        return [_unpacked(line) for line in client().lrange(_ring_key(topic), 0, -1)]
    except redis.RedisError:
        return []


def watch(topics: Iterable[str], seconds: float = 30) -> None:
    """A browser looks at these "metrics:…" topics; said again before the time is over."""
    until = time.time() + seconds
    scores = dict.fromkeys(topics, until)
    with client().pipeline(transaction=False) as pipe:
        if scores:
            pipe.zadd(WATCHED_KEY, scores)
        pipe.zremrangebyscore(WATCHED_KEY, "-inf", time.time())
        pipe.execute()
