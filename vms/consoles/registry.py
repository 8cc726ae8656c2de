"""Who is in which console, for all web processes: in Redis, with an expiry, so that a dead process leaves nobody behind."""

import asyncio
import json
import secrets
import time
import weakref
from dataclasses import asdict, dataclass, field
from typing import Any

import redis.asyncio
from django.conf import settings

ENTRY_SECONDS = 30.0
RENEW_SECONDS = 8.0
# QEMU serves 32 shared viewers per display (its connections-limit); one serial line has one reader.
VIEWERS_MAX = {"vnc": 32, "serial": 1}

# Joins in one step, so that two who come together cannot both be the first.
_JOIN = """
local now = tonumber(ARGV[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], gone)
  redis.call('HDEL', KEYS[2], gone)
end
local all = redis.call('HVALS', KEYS[2])
local me, alone, take_over = cjson.decode(ARGV[4]), ARGV[5] == '1', ARGV[6] == '1'
for _, other in ipairs(all) do
  local them = cjson.decode(other)
  local works = alone or not (me.view_only or them.view_only)
  if works and not take_over and them.user_id ~= me.user_id then return {'busy', other} end
end
if not alone and #all >= tonumber(ARGV[5]) then return {'full', all[1]} end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[1], 120)
redis.call('EXPIRE', KEYS[2], 120)
return {'joined', ''}
"""


@dataclass(frozen=True)
class Viewer:
    """Someone in a console.

    Args:
        since: epoch seconds.
    """

    user_id: str
    user_name: str
    view_only: bool
    since: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: secrets.token_hex(8))


class Taken(Exception):
    """The console cannot be joined.

    Args:
        why: "busy", when `holder` works in it, or "full", when no more viewers are allowed.
    """

    def __init__(self, why: str, holder: Viewer) -> None:
        super().__init__(f"{why}: {holder.user_name}")
        self.why = why
        self.holder = holder


_clients: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis]" = weakref.WeakKeyDictionary()


def client() -> "redis.asyncio.Redis":
    """This event loop's connections to Redis."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = redis.asyncio.Redis.from_url(settings.REDIS_URL, max_connections=16, decode_responses=True, socket_timeout=3)
    return _clients[loop]


def _keys(kind: str, vm_id: Any) -> tuple[str, str]:
    return f"vireo:console:{kind}:{vm_id}:until", f"vireo:console:{kind}:{vm_id}:who"


async def join(kind: str, vm_id: Any, viewer: Viewer, *, take_over: bool = False) -> None:
    """Enters the viewer.

    Raises:
        Taken: someone else works in it and neither take_over nor view-only was asked for, or it is full.
        redis.RedisError: the registry is away.
    """
    now = time.time()
    arguments = (now, now + ENTRY_SECONDS, viewer.id, json.dumps(asdict(viewer)), VIEWERS_MAX[kind], int(take_over))
    why, holder = await client().eval(_JOIN, 2, *_keys(kind, vm_id), *arguments)  # type: ignore[misc]
    if why != "joined":
        raise Taken(why, Viewer(**json.loads(holder)))


async def leave(kind: str, vm_id: Any, viewer: Viewer) -> None:
    until, who = _keys(kind, vm_id)
    async with client().pipeline() as pipe:
        pipe.zrem(until, viewer.id)
        pipe.hdel(who, viewer.id)
        await pipe.execute()


async def renew(kind: str, vm_id: Any, viewer: Viewer) -> None:
    """Keeps an entry that is there, and brings it back when Redis lost its memory."""
    until, who = _keys(kind, vm_id)
    async with client().pipeline() as pipe:
        pipe.zadd(until, {viewer.id: time.time() + ENTRY_SECONDS})
        pipe.hset(who, viewer.id, json.dumps(asdict(viewer)))
        pipe.expire(until, 120)
        pipe.expire(who, 120)
        await pipe.execute()


async def viewers(kind: str, vm_id: Any) -> list[Viewer]:
    """Who is in the console now, the first who came first."""
    until, who = _keys(kind, vm_id)
    async with client().pipeline() as pipe:
        pipe.zrangebyscore(until, time.time(), "+inf")
        pipe.hgetall(who)
        alive, data = await pipe.execute()
    found = [Viewer(**json.loads(data[name])) for name in alive if name in data]
    return sorted(found, key=lambda viewer: viewer.since)
