"""Slowing down who guesses passwords: per user name and address, so that nobody can lock another out."""

import hashlib
import logging

from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
FAILURES, SECONDS = 8, 300


def _key(request: HttpRequest, username: str) -> str:
    who = f"{username.lower()}|{request.META.get('REMOTE_ADDR', '')}"
    return "sign-in:" + hashlib.sha256(who.encode()).hexdigest()


def is_blocked(request: HttpRequest, username: str) -> bool:
    try:
        return int(cache.get(_key(request, username), 0)) >= FAILURES
    except RedisError as error:  # a cache that is away must not keep an administrator out
        log.warning("sign-in throttling is off while the cache is away: %s", error)
        return False


def failed(request: HttpRequest, username: str) -> None:
    try:
        key = _key(request, username)
        cache.add(key, 0, SECONDS)
        cache.incr(key)
    except RedisError as error:
        log.warning("a failed sign-in was not counted: %s", error)


def succeeded(request: HttpRequest, username: str) -> None:
    try:
        cache.delete(_key(request, username))
    except RedisError as error:
        log.warning("sign-in failures were not cleared: %s", error)
