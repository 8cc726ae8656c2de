"""The VM list page and the API's list, over HTTP from a real server, with 10,000 VMs and 500 hosts, and with 100 VMs."""

import statistics

from bench.figures import Figure
from bench.server import Server
from tests.stack import ADMIN_PASSWORD

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


def _p95s_ms(servers: list[Server], path: str) -> list[float]:
    """Asked in turn, so that what else the machine does falls on all of them alike."""
    who = {"token": 1} if path.startswith("/api/") else {"cookie": 0}

    def ask(server: Server) -> float:
        return server.seconds(path, **{name: server.printed[place] for name, place in who.items()})

    for server in servers * 5:
        ask(server)
    rounds = [[ask(server) for server in servers] for _ in range(REQUESTS)]
    return [statistics.quantiles(times, n=20)[-1] * 1000 for times in zip(*rounds, strict=True)]


def measure() -> list[Figure]:
    servers: list[Server] = []
    try:
        for vms, hosts in ((100, 10), (10_000, 500)):
            servers.append(Server(SEED.format(vms=vms, hosts=hosts, password=ADMIN_PASSWORD)))
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
