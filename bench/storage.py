"""The list and the page of storage domains over HTTP from a real server, with 20 domains and 20,000 disks."""

import statistics

from bench.figures import Figure
from bench.server import Server
from tests.stack import ADMIN_PASSWORD

REQUESTS = 120
SEED = """
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from accounts.models import User
from accounts.permissions import grant
from hosts.models import *
from storage.models import *
admin = User.objects.create_user("admin", "{password}")
grant("SuperUser", user=admin)
center = DataCenter.objects.create(name="center")
cluster = Cluster.objects.create(name="cluster", data_center=center)
hosts = Host.objects.bulk_create([Host(name=f"host{{n:02}}", cluster=cluster, address=f"192.0.2.{{n}}", port=n, transport="test", status="up",
    status_since=timezone.now()) for n in range(10)])
made = StorageDomain.objects.bulk_create([StorageDomain(name=f"domain{{n:02}}", data_center=center, kind="shared_dir", path=f"/srv/{{n}}/x", status="active",
    capacity_bytes=1 << 44, available_bytes=1 << 43) for n in range({domains})])
StorageDomainHost.objects.bulk_create([StorageDomainHost(domain=domain, host=host, status="active", capacity_bytes=1 << 44, available_bytes=1 << 43,
    checked_at=timezone.now()) for domain in made for host in hosts])
Disk.objects.bulk_create([Disk(name=f"disk{{n:05}}", domain=made[n % {domains}], capacity_bytes=10 << 30) for n in range({disks})], batch_size=1000)
client = Client(headers={{"host": "127.0.0.1"}}); client.force_login(admin)
def queries(path):
    client.get(path)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(path).status_code == 200
    return len(seen)
page = f"/storage/{{made[0].pk}}/"
print(client.cookies["vireo_session"].value, page, queries("/storage/"), queries(page))
"""


def _p95_ms(server: Server, path: str) -> float:
    for _ in range(5):
        server.seconds(path, cookie=server.printed[0])
    return statistics.quantiles([server.seconds(path, cookie=server.printed[0]) for _ in range(REQUESTS)], n=20)[-1] * 1000


def measure() -> list[Figure]:
    servers: list[Server] = []
    try:
        for domains, disks in ((2, 20), (20, 20_000)):
            servers.append(Server(SEED.format(domains=domains, disks=disks, password=ADMIN_PASSWORD)))
        small, large = (tuple(int(count) for count in server.printed[2:4]) for server in servers)
        listed, page = (_p95_ms(servers[1], path) for path in ("/storage/", servers[1].printed[1]))
    finally:
        for server in servers:
            server.stop()
    if small != large:
        raise AssertionError(f"the number of queries grows with the disks: {small} with 20, {large} with 20,000")
    note = f"at most 150; the larger of list ({listed:.0f} ms, {large[0]} queries) and page ({page:.0f} ms, {large[1]} queries)"
    return [Figure("storage_page_p95_ms", max(listed, page), "ms", note)]
