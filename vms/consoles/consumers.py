"""The WebSockets of consoles. What goes over them is written down in the package's docstring.

These are plain ASGI applications beneath the same origin and session middleware as every WebSocket. Channels' consumer class
would put a thread switch (it looks after database connections) between the browser and the host for each message.
"""

import asyncio
import json
import logging
import time
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.core.exceptions import ValidationError
from redis.exceptions import RedisError

from accounts.endings import ended
from portal.live import group_of
from vms import can
from vms.consoles import access, registry
from vms.consoles.endings import Close, Ending, forbidden, left
from vms.consoles.lines import Line, ScreenLine, SerialLine
from vms.consoles.registry import Taken, Viewer
from vms.consoles.tickets import Pass
from vms.models import VM

log = logging.getLogger(__name__)

FIRST_MESSAGE_SECONDS = 10.0
RECHECK_SECONDS = 30.0
GOODBYE_SECONDS = 1.0


class ConsoleConsumer:
    """One open console. Subclasses say which line of the VM it is."""

    kind: ClassVar[str]
    line_class: ClassVar[type[Line]]

    @classmethod
    def as_asgi(cls) -> Any:
        async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await cls(scope, receive, send).run()

        return application

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        self._user = scope["user"]
        self._session_key: str = scope["session"].session_key or ""
        self._address: str = (scope.get("client") or ("",))[0]
        self._vm_id: str = str(scope["url_route"]["kwargs"]["vm_id"])
        self._listening: list[tuple[str, str]] = []
        self._channel = ""
        self._grants_changed = asyncio.Event()
        self._viewer: Viewer | None = None

    @property
    def _topic(self) -> str:
        return f"console:{self.kind}:{self._vm_id}"

    async def run(self) -> None:
        await self._receive()
        if not self._user.is_authenticated:
            await self._send({"type": "websocket.close", "code": Close.FORBIDDEN})
            return
        await self._send({"type": "websocket.accept"})
        try:
            ending = await self._serve()
        except Ending as refused:
            ending = refused
            await self._say(op="refused", code=refused.word, reason=refused.reason, retry=refused.retry, **refused.facts)
        if ending.code != Close.LEFT:
            await self._quietly({"type": "websocket.close", "code": int(ending.code), "reason": ending.reason[:100]})

    async def _say(self, **message: Any) -> None:
        await self._quietly({"type": "websocket.send", "text": json.dumps(message)})

    async def _quietly(self, message: dict[str, Any]) -> None:
        """Sends to a browser that may be gone, or read nothing: the console's end does not wait for it."""
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._send(message)
        except (TimeoutError, OSError, RuntimeError):
            log.debug("a browser did not take the last message of its console")

    # From the ticket to the open line

    async def _serve(self) -> Ending:
        ticket = await self._ticket()
        try:
            # Before the permission is looked up, so that no withdrawal falls between the two.
            await self._listen(f"user:{self._user.pk}", self._topic)
            vm, allowed = await self._admit(ticket)
            return await self._join(vm, allowed)
        except (RedisError, OSError) as error:
            log.warning("console %s: Redis does not answer: %s", self._topic, error)
            raise Ending(Close.AWAY, "unreachable", "Vireo cannot tell who is in this console just now.", retry=True) from None
        finally:
            await self._stop_listening()

    async def _ticket(self) -> str:
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                message = await self._receive()
            ticket = json.loads(message.get("text") or "")["ticket"]
        except TimeoutError:
            raise Ending(Close.BAD_MESSAGE, "bad", "No ticket came.") from None
        except (ValueError, KeyError, TypeError):
            raise Ending(Close.BAD_MESSAGE, "bad", "The first message must be a ticket.") from None
        return str(ticket)

    async def _admit(self, ticket: str) -> tuple[VM, Pass]:
        try:
            admitted = await database_sync_to_async(access.admit)(ticket, self._user, self._session_key, self._vm_id, self.kind)
        except ValidationError:
            admitted = None
        if admitted is None:
            raise Ending(
                Close.TICKET, "ticket", "This ticket was used, has expired, or is not for you. Open the console again.", retry=True
            )
        verdict = can.check("console", admitted[0])
        if not verdict:
            raise Ending(Close.NOTHING_TO_SHOW, "down", verdict.reason)
        return admitted

    async def _join(self, vm: VM, allowed: Pass) -> Ending:
        viewer = Viewer(str(self._user.pk), self._user.display_name, allowed.view_only)
        others = await registry.viewers(self.kind, self._vm_id)
        try:
            await registry.join(self.kind, self._vm_id, viewer, take_over=allowed.take_over)
        except Taken as taken:
            raise self._taken(taken) from None
        self._viewer = viewer
        began, ending = time.monotonic(), left()
        line: Line | None = None
        try:
            line = await self.line_class.open(vm, view_only=allowed.view_only, force=allowed.take_over or bool(others))
            out = self._leave_to_me(others, allowed)
            if out:
                await self._tell({"type": "console.taken", "by": viewer.user_name, "ids": [other.id for other in out]})
            names = sorted({other.user_name for other in out if other.user_id != viewer.user_id})
            await database_sync_to_async(access.note_opened)(vm, self._user, self.kind, self._address, allowed.view_only, names)
            try:
                ending = await self._relay(line)
            finally:
                await database_sync_to_async(access.note_closed)(vm, self._user, self.kind, time.monotonic() - began, ending.word)
        finally:
            if line is not None:
                line.close()
            await registry.leave(self.kind, self._vm_id, viewer)
            await self._tell({"type": "console.viewers"})
        return ending

    def _leave_to_me(self, others: list[Viewer], allowed: Pass) -> list[Viewer]:
        """Who has to leave because we came."""
        if registry.VIEWERS_MAX[self.kind] == 1:
            return others
        return [other for other in others if not other.view_only and other.user_id != str(self._user.pk)] if allowed.take_over else []

    @staticmethod
    def _taken(taken: Taken) -> Ending:
        if taken.why == "full":
            return Ending(Close.FULL, "full", "This screen has as many viewers as QEMU allows. Try again when one has left.")
        facts = {"holder": taken.holder.user_name, "since": taken.holder.since}
        return Ending(Close.BUSY, "busy", f"{taken.holder.user_name} is in this console.", facts=facts)

    # While it is open

    async def _relay(self, line: Line) -> Ending:
        """Copies until one side ends, or somebody ends it."""
        await self._say(op="open", view_only=bool(self._viewer and self._viewer.view_only), viewers=await self._viewers())
        await self._tell({"type": "console.viewers"})
        tasks = [
            asyncio.create_task(part)
            for part in (self._to_browser(line), self._to_host(line), self._hear(), self._stay(), self._until_grants_end())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ending = done.pop().result()
        finally:
            line.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if ending.code != Close.LEFT:
            await self._say(op="closed", code=ending.word, reason=ending.reason, retry=ending.retry)
        return ending

    async def _to_browser(self, line: Line) -> Ending:
        send = self._send
        try:
            while data := await line.read():
                await send({"type": "websocket.send", "bytes": data})  # waits while the browser does not read
        except OSError:
            return left()
        return Ending(Close.ENDED, "ended", line.why_ended, retry=True)

    async def _to_host(self, line: Line) -> Ending:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return left()
            if data := message.get("bytes"):
                try:
                    await line.write(data)
                except ValueError as error:
                    return Ending(Close.BAD_MESSAGE, "bad", str(error))

    async def _hear(self) -> Ending:
        """What other consoles and other pages say."""
        layer = get_channel_layer()
        while True:
            message = await layer.receive(self._channel)
            match message["type"]:
                case "live.recheck":
                    self._grants_changed.set()
                    if not await self._still_allowed():
                        return forbidden()
                case "console.taken" if self._viewer and self._viewer.id in message["ids"]:
                    return Ending(Close.BUSY, "taken", f"{message['by']} took this console over.")
                case "console.viewers":
                    await self._say(op="viewers", viewers=await self._viewers())

    async def _stay(self) -> Ending:
        """Keeps our entry in the registry, and asks again now and then whether we may be here: a message can be lost."""
        assert self._viewer is not None
        checked = time.monotonic()
        while True:
            await asyncio.sleep(registry.RENEW_SECONDS)
            try:
                await registry.renew(self.kind, self._vm_id, self._viewer)
            except (RedisError, OSError) as error:
                log.warning("console %s: Redis does not answer: %s", self._topic, error)
            if time.monotonic() - checked > RECHECK_SECONDS:
                checked = time.monotonic()
                if not await self._still_allowed():
                    return forbidden()

    async def _until_grants_end(self) -> Ending:
        """Checks again when the next grant of the user ends: nobody sends a message then."""
        while True:
            self._grants_changed.clear()
            if await ended(self._user, self._grants_changed) and not await self._still_allowed():
                return forbidden()

    async def _still_allowed(self) -> bool:
        return await database_sync_to_async(access.still_allowed)(self._user.pk, self._session_key, self._vm_id)

    async def _viewers(self) -> list[dict[str, Any]]:
        try:
            found = await registry.viewers(self.kind, self._vm_id)
        except (RedisError, OSError):
            return []
        me = self._viewer.id if self._viewer else ""
        return [{"name": each.user_name, "view_only": each.view_only, "me": each.id == me} for each in found]

    # The channel layer

    async def _listen(self, *topics: str) -> None:
        layer = get_channel_layer()
        self._channel = await layer.new_channel()
        for topic in topics:
            await layer.group_add(group_of(topic), self._channel)
            self._listening.append((group_of(topic), self._channel))

    async def _stop_listening(self) -> None:
        layer = get_channel_layer()
        for group, channel in self._listening:
            try:
                await layer.group_discard(group, channel)
            except (RedisError, OSError):
                continue
        self._listening.clear()

    async def _tell(self, message: dict[str, Any]) -> None:
        try:
            await get_channel_layer().group_send(group_of(self._topic), message)
        except (RedisError, OSError) as error:
            log.warning("console %s: the others could not be told: %s", self._topic, error)


class VncConsumer(ConsoleConsumer):
    """A VM's screen."""

    kind = "vnc"
    line_class = ScreenLine


class SerialConsumer(ConsoleConsumer):
    """A VM's serial console."""

    kind = "serial"
    line_class = SerialLine
