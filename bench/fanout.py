"""From a change of a VM to the message in every page that may show it: 500 users with a live page each, half of them permitted.

The web process is the one that the Procfile names. The changes come from another process, as a worker's and the watcher's do;
the clock starts before it publishes one. The users without a grant make the web process work, too: it checks each of them.
"""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect

from bench.figures import Figure
from bench.server import Server

USERS, VMS = 500, 10
CHANGES, EVERY_SECONDS = 100, 0.2
_LOST_SECONDS = 5.0  # a change that did not arrive counts as so late
_LAST_SECONDS = 30.0

# VMs; users of whom every second one holds UserRole on each VM; a session of each.
_ROWS = f"""
import json
from django.test import Client
from accounts.models import User
from accounts.permissions import ensure_predefined_roles, grant
from tests.build import make_cluster, make_vm
ensure_predefined_roles()
cluster = make_cluster()
vms = [make_vm(cluster=cluster) for _ in range({VMS})]
sessions = []
for number in range({USERS}):
    user, client = User.objects.create(username=f"page{{number}}"), Client()
    if number % 2 == 0:
        for vm in vms:
            grant("UserRole", vm, user=user)
    client.force_login(user)
    sessions.append(client.cookies["vireo_session"].value)
print(json.dumps({{"sessions": sessions, "vms": [str(vm.pk) for vm in vms]}}, separators=(",", ":")))
"""
# Publishes the changes, one after the other over the VMs, at random moments; prints when each was.
_CHANGES = """
import json, random, time
from portal.live import publish
vms, made = {vms!r}, []
for number in range({changes}):
    time.sleep(random.uniform(0.5, 1.5) * {every})
    made.append(time.monotonic())
    publish("vm", vms[number % len(vms)], "changed", rev=number, facts={{"status": "up"}})
time.sleep({every})
print(json.dumps(made, separators=(",", ":")))
"""


@dataclass
class _Page:
    """A user's open page: when it heard of which change."""

    socket: ClientConnection
    permitted: bool
    heard: dict[int, float] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        async for text in self.socket:
            at, message = time.monotonic(), json.loads(text)
            if message["op"] == "change":
                self.heard.setdefault(message["rev"], at)
            elif message["op"] == "pong":
                self.answered.set()


async def _open(server: Server, session: str, permitted: bool) -> _Page:
    address = f"127.0.0.1:{server.port}"
    socket = await connect(
        f"ws://{address}/ws/live",
        origin=f"http://{address}",  # type: ignore[arg-type]
        additional_headers={"Cookie": f"vireo_session={session}"},
        compression=None,
        open_timeout=_LAST_SECONDS,
        ping_interval=None,
    )
    await socket.send(json.dumps({"op": "subscribe", "topics": ["vm"]}))
    answer = json.loads(await asyncio.wait_for(socket.recv(), _LAST_SECONDS))
    assert answer["topics"] == ["vm"], answer
    return _Page(socket, permitted)


@asynccontextmanager
async def _pages(server: Server, sessions: list[str]) -> AsyncIterator[list[_Page]]:
    """All of them open and listening; opened a few at a time, as people come."""
    few = asyncio.Semaphore(20)

    async def one(number: int, session: str) -> _Page:
        async with few:
            return await _open(server, session, permitted=number % 2 == 0)

    pages = await asyncio.gather(*(one(*each) for each in enumerate(sessions)))
    listening = [asyncio.create_task(page.listen()) for page in pages]
    yield pages
    await asyncio.gather(*(page.socket.close() for page in pages))
    await asyncio.gather(*listening)


async def _publish(server: Server, vms: list[str]) -> list[float]:
    """Makes the changes in a process of its own; the moment of each."""
    code = _CHANGES.format(vms=vms, changes=CHANGES, every=EVERY_SECONDS)
    return json.loads(await asyncio.to_thread(server.shell, code))


async def _latencies(server: Server, sessions: list[str], vms: list[str]) -> list[float]:
    """Milliseconds of each change to each page that may show it. Fails if a page heard of one that it may not."""
    async with _pages(server, sessions) as pages:
        made = await _publish(server, vms)
        deadline = time.monotonic() + _LAST_SECONDS
        while any(len(page.heard) < CHANGES for page in pages if page.permitted) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for page in pages:  # the answer comes after whatever the page was to hear before it
            await page.socket.send('{"op": "ping"}')
        await asyncio.wait_for(asyncio.gather(*(page.answered.wait() for page in pages)), _LAST_SECONDS)
        told = [page for page in pages if page.heard and not page.permitted]
        assert not told, f"{len(told)} pages heard of VMs that their users may not see"
        return [1000 * (page.heard.get(n, at + _LOST_SECONDS) - at) for page in pages if page.permitted for n, at in enumerate(made)]


def measure() -> list[Figure]:
    server = Server(_ROWS)
    try:
        rows = json.loads(server.printed[-1])
        found = asyncio.run(_latencies(server, rows["sessions"], rows["vms"]))
    finally:
        server.stop()
    p99 = statistics.quantiles(found, n=100)[-1]
    peer = f"at most 250; {USERS} pages, {len(found)} messages to the permitted half and none to the other; median {statistics.median(found):.0f} ms, worst {max(found):.0f} ms"
    return [Figure("fanout_500_p99_ms", p99, "ms", peer)]
