"""From what happens on a host to the message in a WebSocket client, with 1,000 domains on ten hosts of libvirt's test driver.

Everything between is as in production: the watcher with its statistics and sweeps, the database, Redis, the web process, a signed-in
user who looks at the list of VMs. The clock starts before libvirt is asked for the change, so libvirt's own time counts, too.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bench.figures import Figure

ROOT = Path(__file__).resolve().parent.parent
HOSTS, DOMAINS = 10, 100
_LAST_SECONDS = 5.0  # so long a change may take before it counts as lost

# Rows of the hosts and their domains, as adopted; the session of a user who may see them.
_ROWS = """
import json, sys, uuid
import django; django.setup()
from django.conf import settings
from django.test import Client
from django.utils import timezone
from accounts.permissions import ensure_predefined_roles
from tests.build import PASSWORD, make_cluster, make_host, make_user
from vms.models import VM
hosts, count = map(int, sys.argv[1:])
ensure_predefined_roles()
cluster, domain = make_cluster(), "<domain type='test'><name>{0}</name><uuid>{0}</uuid><memory>65536</memory><os><type>hvm</type></os></domain>"
for number in range(hosts):
    keys, path = [str(uuid.uuid4()) for _ in range(count)], settings.VAR / f"node{number}.xml"
    path.write_text("<node><cpu><active>4</active></cpu>" + "".join(domain.format(key) for key in keys) + "</node>")
    host = make_host(cluster=cluster, test_uri=f"test://{path}", last_seen_at=timezone.now())
    VM.objects.bulk_create(VM(id=key, name=key, cluster=cluster, host=host, origin="adopted", status="up", status_since=timezone.now(),
        memory_mib=64, vcpus=1) for key in keys)
client = Client()
client.login(username=make_user(role="SuperUser").username, password=PASSWORD)
print(client.cookies["vireo_session"].value)
"""


class _Listener:
    """A browser on the list of VMs: when it heard which status of which VM."""

    def __init__(self, port: int, session: str) -> None:
        self.heard: dict[tuple[str, str], float] = {}
        self._socket: ClientConnection = connect(
            f"ws://127.0.0.1:{port}/ws/live",
            origin=f"http://127.0.0.1:{port}",  # type: ignore[arg-type]
            additional_headers={"Cookie": f"vireo_session={session}"},
        )
        self._socket.send(json.dumps({"op": "subscribe", "topics": ["vm"]}))
        answer = json.loads(self._socket.recv(10))
        assert answer["topics"] == ["vm"], answer
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            for text in self._socket:
                at, message = time.monotonic(), json.loads(text)
                if message["op"] == "change":
                    self.heard.setdefault((message["id"], message["facts"].get("status", "")), at)
        except ConnectionClosed:
            pass

    def close(self) -> None:
        self._socket.close()


class _Bench:
    """Redis, the web process and the watcher with its driver, on a database of their own."""

    def __init__(self) -> None:
        self.var = Path(tempfile.mkdtemp(prefix="vireo-events-", dir="/tmp"))  # nosec B108 # mkdtemp makes it for us alone
        (self.var / "run").mkdir()
        self._environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        self._environment |= {"VIREO_VAR": str(self.var), "DJANGO_SETTINGS_MODULE": "portal.settings", "VIREO_LOG_LEVEL": "ERROR"}
        self._processes: list[subprocess.Popen[str]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self) -> "_Bench":
        self._run("redis-server", "--port", "0", "--unixsocket", str(self.var / "run/redis.sock"), "--save", "", "--dir", str(self.var))
        self._python("manage.py", "migrate", "-v0")
        self.session = self._python("-c", _ROWS, str(HOSTS), str(DOMAINS)).split()[-1]
        options = [
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--log-level",
            "error",
            "--ws",
            "portal.websocket_protocol:FrugalWebSocketProtocol",
        ]
        self._run(sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(self.port), "--no-access-log", *options)
        self._driver = self._run(sys.executable, "-m", "bench.event_driver")
        assert self._answer() == [["ready"]]
        self._wait_for_web()
        return self

    def _wait_for_web(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _run(self, *command: str) -> subprocess.Popen[str]:
        quiet = subprocess.DEVNULL if command[0] == "redis-server" else subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=quiet, text=True)
        self._processes.append(process)
        return process

    def _python(self, *arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=self._environment, check=True, capture_output=True, text=True)
        return done.stdout

    def _answer(self) -> list[list[str]]:
        """The driver's lines up to "ready" or "done"."""
        assert self._driver.stdout is not None
        lines = []
        for line in self._driver.stdout:
            lines.append(line.split())
            if lines[-1][0] in ("ready", "done"):
                return lines
        raise AssertionError("the watcher's process ended")

    def latencies(self, work: str) -> list[float]:
        """Milliseconds of each change; one that the client did not hear of counts as five seconds."""
        listener = _Listener(self.port, self.session)
        assert self._driver.stdin is not None
        self._driver.stdin.write(work + "\n")
        self._driver.stdin.flush()
        made = {(key, status): float(at) for key, status, at in self._answer()[:-1]}
        deadline = time.monotonic() + _LAST_SECONDS
        while made.keys() - listener.heard.keys() and time.monotonic() < deadline:
            time.sleep(0.01)
        listener.close()
        return [1000 * (listener.heard.get(key, at + _LAST_SECONDS) - at) for key, at in made.items()]

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(10)
        shutil.rmtree(self.var, ignore_errors=True)


def measure() -> list[Figure]:
    bench = _Bench()
    try:
        bench.start()
        steady, burst = bench.latencies("steady"), bench.latencies("pause")
    finally:
        bench.stop()
    middle, p99 = statistics.median(steady), statistics.quantiles(steady, n=100)[-1]
    peer = f"at most 100; {len(steady)} changes, median {middle:.1f} ms, worst {max(steady):.1f} ms; {len(burst)} at once: all within {max(burst):.0f} ms"
    return [Figure("event_to_browser_p99_ms", p99, "ms", peer)]
