"""Telling open browsers what changed.

`publish` may be called from any thread of any process; the message leaves when the transaction has committed.
One background thread per process holds the connection to the channel layer, so no caller waits on Redis, and a
Redis that is away costs messages (browsers catch up by themselves), never a request.
"""

import asyncio
import logging
import threading
from typing import Any

from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class _Sender:
    """The process's own event loop for sending; started on first use, and again after a fork."""

    def __init__(self) -> None:
        self._start = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def send(self, group: str, message: dict[str, Any]) -> None:
        self._running_loop().call_soon_threadsafe(self._spawn, group, message)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        import os

        with self._start:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                self._tasks: set[asyncio.Task[None]] = set()
                threading.Thread(target=self._loop.run_forever, name="live-sender", daemon=True).start()
            return self._loop

    def _spawn(self, group: str, message: dict[str, Any]) -> None:
        assert self._loop is not None
        if len(self._tasks) > 10_000:
            log.warning("the channel layer is too slow: a live message was dropped")
            return
        task = self._loop.create_task(self._send(group, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        try:
            await get_channel_layer().group_send(group, message)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("a live message could not be sent: %s", error)


_sender = _Sender()


def group_of(topic: str) -> str:
    """A topic's name in the channel layer, which allows fewer characters."""
    return "live." + topic.replace(":", ".").replace("_", "-")


def publish(object_type: str, object_id: Any, change: str, rev: int = 0, facts: dict[str, Any] | None = None) -> None:
    """Says that an object was `added`, `changed` or `removed`, to its own topic and to its type's list.

    Args:
        facts: a few plain values that every viewer of the object may see, e.g. {"status": "up"}.
    """
    message = {
        "type": "live.change",
        "object_type": object_type,
        "id": str(object_id),
        "change": change,
        "rev": rev,
        "facts": facts or {},
    }
    transaction.on_commit(lambda: _sender.send(group_of(object_type), message))


def publish_to(topic: str, message: dict[str, Any]) -> None:
    """Sends a message of another kind (a metrics frame, a withdrawn grant) to one topic, at once."""
    _sender.send(group_of(topic), message)
