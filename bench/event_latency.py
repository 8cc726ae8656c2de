"""From libvirt's event to the message in a WebSocket client: p99, with 1,000 domains on hosts of libvirt's test driver.

One process holds what matters: the driver lives in the process that opens it, so a watcher runs here, in a thread, on a
seeded database; Redis, the web server and the WebSocket client are processes and sockets as ever. The clock starts in
libvirt's own callback, before the watcher has seen the event, and stops when the client has the message.
"""

import asyncio
import json
import os
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from bench.figures import Figure

HOSTS, DOMAINS = 5, 200
EVENTS = 300
PAUSE_SECONDS = 0.02


def measure() -> list[Figure]:
    """Runs the measurement in a process of its own: it needs its own Django settings."""
    var = Path(tempfile.mkdtemp(prefix="vireo-bench-", dir="/tmp"))
    environment = os.environ | {"VIREO_VAR": str(var), "DJANGO_SETTINGS_MODULE": "portal.settings", "VIREO_LOG_LEVEL": "ERROR"}
    for name in ("DATABASE_URL", "REDIS_URL"):
        environment.pop(name, None)
    try:
        done = subprocess.run([sys.executable, "-m", "bench.event_latency"], env=environment, check=True, capture_output=True, text=True)
    finally:
        shutil.rmtree(var, ignore_errors=True)
    result = json.loads(done.stdout.splitlines()[-1])
    peer = f"at most 100; median {result['median']:.1f} ms of {result['count']} events, {HOSTS * DOMAINS} domains"
    return [Figure("event_to_browser_p99_ms", result["p99"], "ms", peer)]


def _driver_file(var: Path, host: int) -> str:
    """A file of the test driver: a host with its domains, half of them running."""
    domains = "".join(
        f"<domain type='test'><name>vm-{host}-{number}</name><uuid>{host:08x}-0000-4000-8000-{number:012x}</uuid>"
        f"<memory>65536</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>"
        for number in range(DOMAINS)
    )
    path = var / f"host{host}.xml"
    path.write_text(f"<node>{domains}<cpu><mhz>2000</mhz><model>x86</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads></cpu><memory>8388608</memory></node>")
    return f"test://{path}"


def _run() -> dict[str, float]:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from accounts.models import User
    from accounts.permissions import grant
    from hosts.connect import link_of
    from hosts.models import Cluster, DataCenter, Host
    from tests.stack import free_port
    from tests.waiting import until
    from vms.models import VM
    from watcher.watch import Watch

    call_command("migrate", verbosity=0)
    socket = settings.RUN_DIR / "redis.sock"
    redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""], stdout=subprocess.DEVNULL)
    port = free_port()
    web = subprocess.Popen([sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(port), "--loop", "uvloop", "--log-level", "error"])
    watch = Watch()
    thread = threading.Thread(target=watch.run, daemon=True)
    try:
        admin = User.objects.create_user("admin", "a password of the bench")
        grant("SuperUser", user=admin)
        cluster = Cluster.objects.create(name="c", data_center=DataCenter.objects.create(name="d"))
        now = timezone.now()
        hosts = [
            Host.objects.create(
                name=f"host{number}", cluster=cluster, address="localhost", port=number, transport="test", test_uri=_driver_file(settings.VAR, number),
                status="up", status_since=now, last_seen_at=now,
            )
            for number in range(1, HOSTS + 1)
        ]  # fmt: skip
        client = Client()
        client.force_login(admin)
        cookie = client.cookies["vireo_session"].value
        thread.start()
        until(lambda: VM.objects.count() == HOSTS * DOMAINS, 120, "all domains to be adopted")
        return asyncio.run(_measure(port, cookie, [link_of(host) for host in hosts]))
    finally:
        watch.stop()
        thread.join(10)
        for process in (web, redis):
            process.terminate()
            process.wait(10)


async def _measure(port: int, cookie: str, links: list) -> dict[str, float]:
    """Toggles domains one after another, and pairs each event with its message by domain and state."""
    import time

    import websockets

    from hypervisor import domains
    from hypervisor.events import DomainEvent, HostObserver

    begun: queue.Queue[tuple[str, float]] = queue.Queue()
    observers = [HostObserver(link, lambda event: begun.put((event.uuid, time.perf_counter())) if isinstance(event, DomainEvent) else None) for link in links]
    for observer in observers:
        observer.start()
    socket = await _connect(websockets, port, cookie)
    arrived: dict[str, float] = {}

    async def read() -> None:
        async for text in socket:
            message = json.loads(text)
            if message["op"] == "change" and message["object_type"] == "vm":
                arrived.setdefault(message["id"], time.perf_counter())

    reader = asyncio.create_task(read())
    latencies = []
    for number in range(EVENTS):
        link = links[number % len(links)]
        uuid = f"{number % len(links) + 1:08x}-0000-4000-8000-{number // len(links):012x}"
        arrived.pop(uuid, None)
        await asyncio.to_thread(domains.suspend, link, uuid)
        seen, at = await asyncio.to_thread(begun.get, True, 10)
        while seen != uuid:
            seen, at = await asyncio.to_thread(begun.get, True, 10)
        deadline = time.perf_counter() + 5
        while uuid not in arrived and time.perf_counter() < deadline:
            await asyncio.sleep(0.001)
        latencies.append((arrived.get(uuid, deadline) - at) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    reader.cancel()
    await socket.close()
    for observer in observers:
        observer.close()
    return {"p99": statistics.quantiles(latencies, n=100)[98], "median": statistics.median(latencies), "count": len(latencies)}


async def _connect(websockets, port: int, cookie: str):
    """The live socket of a signed-in browser, subscribed to all VMs."""
    url, origin = f"ws://127.0.0.1:{port}/ws/live", f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            socket = await websockets.connect(url, origin=origin, additional_headers={"Cookie": f"vireo_session={cookie}"})
            break
        except OSError:
            await asyncio.sleep(0.1)
    await socket.send(json.dumps({"op": "subscribe", "topics": ["vm"]}))
    while json.loads(await socket.recv())["op"] != "subscribed":
        continue
    return socket


if __name__ == "__main__":
    print(json.dumps(_run()))
