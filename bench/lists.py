"""The VM list page and the API's list, over HTTP from a real server, with 10,000 VMs and 500 hosts, and with 100 VMs."""

import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import Figure
from tests.stack import ADMIN_PASSWORD, ROOT, free_port
from tests.waiting import until

REQUESTS = 120
SEED = """
import uuid
from django.utils import timezone
from accounts.models import User
from accounts.permissions import grant
from accounts.tokens import create
from django.test import Client
from hosts.models import *
from vms.models import *
vms, hosts = {vms}, {hosts}
admin = User.objects.create_user("admin", "{password}")
grant("SuperUser", user=admin)
clusters = [Cluster.objects.create(name=f"c{{n}}", data_center=DataCenter.objects.create(name=f"d{{n}}")) for n in range(5)]
now = timezone.now()
made = Host.objects.bulk_create([Host(name=f"host{{n:04}}", cluster=clusters[n % 5], address=f"192.0.2.{{n}}", port=n, transport="test", status="up",
    status_since=now, memory_bytes=64 << 30, cpu_count=32, capabilities={{"features": ["console"] * 20, "cpu_features": ["sse"] * 80}}) for n in range(hosts)])
VM.objects.bulk_create([VM(name=f"vm{{n:05}}", cluster=made[n % hosts].cluster, host=made[n % hosts], status="up" if n % 3 else "down", status_since=now,
    memory_mib=2048, vcpus=2, owner=admin, tags=["web"]) for n in range(vms)], batch_size=500)
client = Client(); client.force_login(admin)
print(client.cookies["vireo_session"].value, create(admin, "bench")[1])
"""


class Server:
    """uvicorn alone on a seeded SQLite database; the pages need no Redis to answer."""

    def __init__(self, vms: int, hosts: int) -> None:
        self.var = Path(tempfile.mkdtemp(prefix="vireo-bench-", dir="/tmp"))  # nosec B108 # mkdtemp makes it for us alone
        self.port = free_port()
        (self.var / "run").mkdir()
        environment = os.environ | {"VIREO_VAR": str(self.var), "DJANGO_SETTINGS_MODULE": "portal.settings", "VIREO_LOG_LEVEL": "ERROR"}
        for name in ("DATABASE_URL", "REDIS_URL"):
            environment.pop(name, None)
        socket = str(self.var / "run" / "redis.sock")
        self.redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""], stdout=subprocess.DEVNULL)
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
        seed = SEED.format(vms=vms, hosts=hosts, password=ADMIN_PASSWORD)
        printed = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v0", "-c", seed], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        )
        self.cookie, self.token = printed.stdout.split()[-2:]
        command = [
            "uvicorn",
            "portal.asgi:application",
            "--port",
            str(self.port),
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--log-level",
            "error",
        ]
        self.process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        until(self._answers, 30, "the server to answer")

    def _answers(self) -> bool:
        try:
            return self.seconds("/sign-in/") > 0
        except OSError:
            self.connection.close()
            return False

    def seconds(self, path: str) -> float:
        headers = {"Cookie": f"vireo_session={self.cookie}"} if not path.startswith("/api/") else {"Authorization": f"Bearer {self.token}"}
        begin = time.perf_counter()
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status in (200, 302), (path, answer.status)
        return time.perf_counter() - begin

    def stop(self) -> None:
        for process in (self.process, self.redis):
            process.terminate()
            process.wait(10)
        shutil.rmtree(self.var, ignore_errors=True)


def _p95s_ms(servers: list[Server], path: str) -> list[float]:
    """Asked in turn, so that what else the machine does falls on all of them alike."""
    for server in servers * 5:
        server.seconds(path)
    rounds = [[server.seconds(path) for server in servers] for _ in range(REQUESTS)]
    return [statistics.quantiles(times, n=20)[-1] * 1000 for times in zip(*rounds, strict=True)]


def measure() -> list[Figure]:
    servers: list[Server] = []
    try:
        for vms, hosts in ((100, 10), (10_000, 500)):
            servers.append(Server(vms, hosts))
        small_page, page = _p95s_ms(servers, "/vms/")
        small_api, api = _p95s_ms(servers, "/api/v1/vms")
    finally:
        for server in servers:
            server.stop()
    growth = max(page / small_page, api / small_api)
    return [
        Figure("vm_list_page_p95_ms", page, "ms", f"at most 120; with 100 VMs {small_page:.1f} ms"),
        Figure("vm_list_api_p95_ms", api, "ms", f"at most 120; with 100 VMs {small_api:.1f} ms"),
        Figure("vm_list_growth_ratio", growth, "ratio", "at most 1.5 times the time with 100 VMs; the larger of page and API"),
    ]
