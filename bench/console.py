"""Consoles: bytes per second against websockify from PyPI over the same source, and memory per idle console.

The web process is the one that the Procfile names, with everything before the console's bytes: session, ticket, registry. Its
host is libvirt's test driver with a domain whose XML names a display; the display is a plain TCP server that sends all it can.
"""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

ROOT = Path(__file__).resolve().parent.parent
TURNS = 9
TURN_SECONDS = 1.5
CONSOLES, VMS = 200, 10
RFB_ANSWER = b"RFB 003.008\n\x01\x01"

# A display that shakes hands and then floods; on the other port one that says nothing more.
_SOURCE = """
import json, time
from tests.rfb_server import RfbServer
block = bytes(1 << 20)
def flood(connection):
    while True: connection.sendall(block)
print(json.dumps([RfbServer(behave=flood).port, RfbServer().port]), flush=True)
time.sleep(3600)
"""
# Rows for VMs whose displays are there; the session of a user who may use them.
_ROWS = """
import json, os, sys, uuid
import django; django.setup()
from django.conf import settings
from django.test import Client
from tests.build import PASSWORD, make_host, make_user, make_vm
from accounts.permissions import ensure_predefined_roles
flood, idle, count = map(int, sys.argv[1:])
ensure_predefined_roles()
path = settings.VAR / "node.xml"
host = make_host(test_uri=f"test://{path}", address="127.0.0.1", driver="Test", capabilities={"features": ["display"]})
vms = [make_vm(host=host, status="up") for _ in range(count + 1)]
domain = ("<domain type='test'><name>{0}</name><uuid>{0}</uuid><memory>65536</memory><os><type>hvm</type></os>"
          "<devices><graphics type='vnc' port='{1}' listen='127.0.0.1'/></devices></domain>")
path.write_text("<node>" + "".join(domain.format(vm.pk, idle if n else flood) for n, vm in enumerate(vms)) + "</node>")
client = Client()
client.login(username=make_user(role="SuperUser").username, password=PASSWORD)
print(json.dumps({"session": client.cookies["vireo_session"].value, "vms": [str(vm.pk) for vm in vms]}))
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _connectable(target: str | int) -> bool:
    family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
    with socket.socket(family) as probe:
        return probe.connect_ex(target if isinstance(target, str) else ("127.0.0.1", target)) == 0


def _wait(target: str | int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not _connectable(target):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens at {target}")
        time.sleep(0.05)


class _Socket:
    """The least of a WebSocket client, so that the client costs little of what is measured."""

    def __init__(self, port: int, path: str = "/", cookie: str = "") -> None:
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
                "Sec-WebSocket-Version: 13", f"Origin: http://127.0.0.1:{port}"]  # fmt: skip
        head += [f"Cookie: {cookie}"] if cookie else ["Sec-WebSocket-Protocol: binary"]
        self.raw.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.raw.recv(1)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode())

    def send(self, data: bytes, kind: int = 2) -> None:
        self.raw.sendall(bytes((0x80 | kind, 0x80 | len(data), 0, 0, 0, 0)) + data)  # fewer than 126 bytes, a mask of zeros

    def rate(self, seconds: float) -> float:
        """Bytes per second that arrive, after the first megabyte."""
        buffer = bytearray(1 << 20)
        begun = 0
        while begun < 1 << 20:
            begun += self.raw.recv_into(buffer)
        total, start = 0, time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            total += self.raw.recv_into(buffer)
        return total / (now - start)


class _Vireo:
    """Vireo's web process with a database and a Redis of its own."""

    def __init__(self, stack: contextlib.ExitStack, flood_port: int, idle_port: int) -> None:
        self.var = Path(tempfile.mkdtemp(prefix="vireo-bench-", dir="/tmp"))  # nosec B108 # mkdtemp makes it for us alone
        stack.callback(shutil.rmtree, self.var, True)
        self.port = _free_port()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("VIREO_") and name not in ("REDIS_URL", "DATABASE_URL")
        }
        venv = str(Path(sys.executable).parent)
        self._env = kept | {
            "VIREO_VAR": str(self.var), "VIREO_PORT": str(self.port), "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PATH": f"{venv}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        (self.var / "run").mkdir()
        redis = str(self.var / "run" / "redis.sock")
        stack.enter_context(_process(["redis-server", "--port", "0", "--unixsocket", redis, "--save", ""], self._env))
        _wait(redis)
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=self._env, check=True)
        command = [sys.executable, "-c", _ROWS, str(flood_port), str(idle_port), str(VMS)]
        rows = json.loads(subprocess.run(command, cwd=ROOT, env=self._env, check=True, capture_output=True, text=True).stdout)
        self._cookie = f"vireo_session={rows['session']}; csrftoken={'c' * 32}"
        self.flood, self.vms = rows["vms"][0], rows["vms"][1:]
        line = next(line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("web:"))
        self.process = stack.enter_context(_process(["bash", "-c", "exec " + line.removeprefix("web:").strip()], self._env))
        _wait(self.port)

    def console(self, vm: str) -> _Socket:
        """An open console, after its handshake."""
        http_client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Cookie": self._cookie, "X-CSRFToken": "c" * 32, "Content-Type": "application/x-www-form-urlencoded"}
        http_client.request("POST", f"/vms/{vm}/console/ticket/", urllib.parse.urlencode({"kind": "vnc"}), headers)
        answer = http_client.getresponse()
        body = answer.read()
        http_client.close()
        if answer.status != 200:
            raise ConnectionError(f"no ticket: {answer.status} {body[:300]!r}")
        opened = _Socket(self.port, f"/ws/vms/{vm}/vnc", self._cookie)
        opened.send(json.dumps({"ticket": json.loads(body)["ticket"]}).encode(), kind=1)
        said = opened.raw.recv(4096)
        if b'"open"' not in said:
            raise ConnectionError(f"the console was refused: {said!r}")
        opened.send(RFB_ANSWER)
        return opened

    def rss(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def _process(command: list[str], env: dict[str, str] | None = None, **options: int) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL, **({"stdout": subprocess.DEVNULL} | options))  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _throughput(vireo: _Vireo, websockify_port: int) -> Figure:
    ours, theirs = [], []
    for _ in range(TURNS):
        console = vireo.console(vireo.flood)
        ours.append(console.rate(TURN_SECONDS))
        console.raw.close()
        peer = _Socket(websockify_port)
        peer.send(RFB_ANSWER)
        theirs.append(peer.rate(TURN_SECONDS))
        peer.raw.close()
    mine, peers = statistics.median(ours), statistics.median(theirs)
    ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))  # what else runs here hits both of a turn
    return Figure(
        "console_throughput_ratio",
        ratio,
        "ratio",
        f"at least 1.3; {mine / 1e6:.0f} MB/s against websockify's {peers / 1e6:.0f} MB/s",
    )


def _idle_memory(vireo: _Vireo) -> Figure:
    for _ in range(20):  # what a first console loads is no cost of the others
        vireo.console(vireo.vms[0]).raw.close()
    time.sleep(1)
    before = vireo.rss()
    consoles = [vireo.console(vireo.vms[number % VMS]) for number in range(CONSOLES)]
    time.sleep(3)
    each = (vireo.rss() - before) / CONSOLES
    for console in consoles:
        console.raw.close()
    return Figure(
        "console_idle_memory_bytes", each, "bytes", f"at most 102400; resident memory of the web process with {CONSOLES} consoles"
    )


def measure() -> list[Figure]:
    with contextlib.ExitStack() as stack:
        env = os.environ | {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "portal.settings"}
        source = stack.enter_context(_process([sys.executable, "-c", _SOURCE], env, stdout=subprocess.PIPE))
        assert source.stdout is not None
        flood_port, idle_port = json.loads(source.stdout.readline())
        vireo = _Vireo(stack, flood_port, idle_port)
        websockify_port = _free_port()
        websockify = str(Path(sys.executable).parent / "websockify")
        stack.enter_context(_process([websockify, f"127.0.0.1:{websockify_port}", f"127.0.0.1:{flood_port}"]))
        _wait(websockify_port)
        return [_idle_memory(vireo), _throughput(vireo, websockify_port)]
