"""The live socket of a page: subscriptions to topics, each checked against the user's grants, then and whenever these change.

client -> {"op": "subscribe" | "unsubscribe", "topics": [...]}, {"op": "ping"}
server -> {"op": "subscribed", "topics", "refused"}, {"op": "change", ...}, {"op": "metrics", ...}, {"op": "revoked", "topics"},
          {"op": "notice", "text", "severity"}, {"op": "refetch"} after messages were dropped, {"op": "pong"}, {"op": "error", "message"}

Topics: an object type ("vm": all of that type that the user may see), an object ("vm:<id>"), or its numbers ("metrics:vm:<id>").
"""

import asyncio
import json
import logging
from typing import Any
from uuid import UUID

from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from redis.exceptions import RedisError

from accounts.endings import ended
from accounts.looking_middleware import viewed_in
from accounts.models import User
from accounts.objects import MODEL_OF
from accounts.sessions import services as sessions
from metrics.live import watch
from portal.live import group_of
from portal.sight import sees

log = logging.getLogger(__name__)

MOST_TOPICS = 500
LONGEST_MESSAGE = 64 * 1024
QUEUE_LENGTH = 512  # messages kept for a slow browser; past that it is told to read its page again
WATCH_SECONDS = 10.0
STANDING_SECONDS = 60.0  # how often a session is asked for that nobody ended: it may have run out
SIGNED_OUT = 4401
LISTS = frozenset({*MODEL_OF, "job", "event"})


class LiveConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.user = self.scope.get("user")
        self.signed_in = self.scope.get("viewer") or self.user  # another than the user only while they look as them
        self.session_key = self.scope["session"].session_key or "" if "session" in self.scope else ""
        self.topics: set[str] = set()
        self.seen: dict[tuple[str, str], bool] = {}
        self.outgoing: asyncio.Queue[str] = asyncio.Queue(QUEUE_LENGTH)
        self.overflown = False
        self.grants_changed = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        await self.accept()
        if self.user is None or not self.user.is_authenticated or not await _goes_on(self.signed_in, self.session_key):
            await self.close(SIGNED_OUT)
            return
        for person in self._people():
            await self.channel_layer.group_add(group_of(f"user:{person.pk}"), self.channel_name)
        self.tasks = [
            asyncio.create_task(self._send_all()),
            asyncio.create_task(self._keep_watching()),
            asyncio.create_task(self._follow_ends()),
        ]

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Channels' own, less its visit to the database's thread for each message of each page: whatever asks the database
        looks after its connections itself."""
        await getattr(self, get_handler_name(message))(message)

    async def disconnect(self, code: int) -> None:
        for task in self.tasks:
            task.cancel()
        for group in {_group_topic(topic) for topic in self.topics}:
            await self.channel_layer.group_discard(group_of(group), self.channel_name)
        for person in self._people():
            await self.channel_layer.group_discard(group_of(f"user:{person.pk}"), self.channel_name)

    def _people(self) -> list[User]:
        """Whose grants this socket stands on: its user, and who looks as them."""
        return [person for person in (self.user, self.scope.get("viewer")) if person is not None and person.is_authenticated]

    # -- from the browser

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = _parse(text_data)
        if message is None:
            self._put({"op": "error", "message": "not understood"})
            return
        match message.get("op"):
            case "ping":
                self._put({"op": "pong"})
            case "subscribe":
                await self._subscribe(_topics_in(message))
            case "unsubscribe":
                for topic in _topics_in(message):
                    await self._leave(topic)
            case _:
                self._put({"op": "error", "message": "no such operation"})

    async def _subscribe(self, wanted: list[str]) -> None:
        joined, refused = [], []
        for topic in wanted:
            room = len(self.topics) < MOST_TOPICS
            if topic in self.topics:
                joined.append(topic)
            elif room and await self._may(topic):
                self.topics.add(topic)
                await self.channel_layer.group_add(group_of(_group_topic(topic)), self.channel_name)
                joined.append(topic)
            else:
                refused.append(topic)
        if any(topic.startswith("metrics:") for topic in joined):
            await self._watch()
        self._put({"op": "subscribed", "topics": joined, "refused": refused})

    async def _leave(self, topic: str) -> None:
        if topic in self.topics:
            self.topics.discard(topic)
            group = _group_topic(topic)
            if all(_group_topic(other) != group for other in self.topics):
                await self.channel_layer.group_discard(group_of(group), self.channel_name)

    # -- permission

    async def _may(self, topic: str) -> bool:
        if topic in LISTS:
            return True  # each message is checked against its object
        object_type, object_id = _object_of(topic)
        return bool(object_type) and await self._sees(object_type, object_id)

    async def _sees(self, object_type: str, object_id: str) -> bool:
        """Remembered until the user's grants change, or the object does: and asked for with the other pages."""
        key = (object_type, object_id)
        if key not in self.seen:
            if len(self.seen) > 20_000:
                self.seen.clear()
            self.seen[key] = await sees(self.user, object_type, object_id)
        return self.seen[key]

    async def live_recheck(self, message: dict[str, Any]) -> None:
        """The user's grants changed, or their account or one of their sessions did."""
        self.seen.clear()
        self.grants_changed.set()
        gone = "viewer" in self.scope and await viewed_in(self.scope) != self.user
        if gone or not await _goes_on(self.signed_in, self.session_key):
            await self.close(SIGNED_OUT)
            return
        revoked = [topic for topic in list(self.topics) if not await self._may(topic)]
        for topic in revoked:
            await self._leave(topic)
        self._put({"op": "revoked", "topics": revoked} if revoked else {"op": "refetch"})

    async def _follow_ends(self) -> None:
        """Checks again when the next grant of the user ends: nobody sends a message then."""
        while True:
            self.grants_changed.clear()
            if await ended(self.user, self.grants_changed):
                await self.live_recheck({})

    # -- to the browser

    async def live_change(self, message: dict[str, Any]) -> None:
        object_type, object_id = message["object_type"], message["id"]
        wanted = {object_type, f"{object_type}:{object_id}"} & self.topics
        if not wanted:
            return
        if message["change"] == "removed":
            if not self.seen.pop((object_type, object_id), object_type in LISTS):
                return
        elif not await self._sees(object_type, object_id):
            self.seen.pop((object_type, object_id), None)  # it may become visible with a later grant or a later row
            return
        facts = {} if message["change"] == "removed" else message["facts"]  # nobody can ask any more who might see it
        self._put({"op": "change", "facts": facts, **{name: message[name] for name in ("object_type", "id", "change", "rev")}})

    async def live_notice(self, message: dict[str, Any]) -> None:
        """A notification of this user's own; not for who looks as them."""
        if self.signed_in == self.user:
            self._put({"op": "notice", "text": message["text"], "severity": message["severity"]})

    async def live_metrics(self, message: dict[str, Any]) -> None:
        if message["topic"] in self.topics:
            self._put({"op": "metrics", "topic": message["topic"], "at": message["at"], "values": message["values"]})

    def _put(self, message: dict[str, Any]) -> None:
        """Never waits: a browser that does not read fast enough loses messages and is told to read its page again."""
        if self.overflown:
            return
        try:
            self.outgoing.put_nowait(json.dumps(message))
        except asyncio.QueueFull:
            self.overflown = True

    async def _send_all(self) -> None:
        while True:
            await self.send(text_data=await self.outgoing.get())
            if self.overflown and self.outgoing.empty():
                self.overflown = False
                self._put({"op": "refetch"})

    async def _keep_watching(self) -> None:
        since = 0.0
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self._watch()
            since += WATCH_SECONDS
            if since >= STANDING_SECONDS:
                since = 0.0
                if not await _goes_on(self.signed_in, self.session_key):
                    await self.close(SIGNED_OUT)

    async def _watch(self) -> None:
        """Says which numbers are looked at, so that the watcher sends only those."""
        topics = [topic for topic in self.topics if topic.startswith("metrics:")]
        if topics:
            try:
                await asyncio.to_thread(watch, topics)
            except RedisError as error:
                log.warning("numbers are not live while Redis is away: %s", error)


def _parse(text: str | None) -> dict[str, Any] | None:
    if text is None or len(text) > LONGEST_MESSAGE:
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _topics_in(message: dict[str, Any]) -> list[str]:
    topics = message.get("topics")
    if not isinstance(topics, list):
        return []
    return [topic for topic in topics[: MOST_TOPICS + 1] if isinstance(topic, str) and len(topic) <= 100]


def _object_of(topic: str) -> tuple[str, str]:
    """("vm", id) of "vm:<id>" and of "metrics:vm:<id>"; ("", "") for anything else."""
    parts = topic.removeprefix("metrics:").split(":")
    if len(parts) != 2 or parts[0] not in LISTS:
        return "", ""
    try:
        return parts[0], str(UUID(parts[1]))
    except ValueError:
        return "", ""


def _group_topic(topic: str) -> str:
    """An object's changes come in its type's group; numbers have a group each."""
    return topic if topic.startswith("metrics:") else topic.split(":")[0]


@database_sync_to_async
def _goes_on(user: User, session_key: str) -> bool:
    """The session that opened this socket still is, and is still this user's."""
    found = sessions.user_of(session_key)
    return found is not None and found.pk == user.pk
