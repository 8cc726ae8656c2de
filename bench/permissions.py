"""What grants cost: the list of VMs of a user with thousands of them, and the answer to "what may this user do here, and why?"."""

import statistics

from bench.figures import Figure
from bench.server import Server

VMS, HOSTS, GRANTS, REQUESTS = 10_000, 500, 5_000, 120
SEED = f"""
from django.test import Client
from django.utils import timezone
from accounts.models import *
from accounts.permissions import grant
from hosts.models import *
from vms.models import VM
now = timezone.now()
places = [DataCenter.objects.create(name=f"d{{n}}") for n in range(5)]
clusters = [Cluster.objects.create(name=f"c{{n}}", data_center=places[n]) for n in range(5)]
hosts = Host.objects.bulk_create([Host(name=f"host{{n:04}}", cluster=clusters[n % 5], address=f"192.0.2.{{n}}", port=n, transport="test",
    status="up", status_since=now) for n in range({HOSTS})])
vms = VM.objects.bulk_create([VM(name=f"vm{{n:05}}", cluster=hosts[n % {HOSTS}].cluster, host=hosts[n % {HOSTS}], status="up", status_since=now,
    memory_mib=2048, vcpus=2) for n in range({VMS})], batch_size=500)
many, one = User.objects.create_user("many"), User.objects.create_user("one")
role = Role.objects.get(name="UserRole")
Grant.objects.bulk_create([Grant(user=many, role=role, object_type="vm", object_id=vm.pk) for vm in vms[:: {VMS // GRANTS}]], batch_size=500)
grant("UserRole", places[0], user=one)
grant("SuperUser", user=User.objects.create_user("root"))
for user in (many, one):
    client = Client(); client.force_login(user); print(client.cookies["vireo_session"].value)
"""
INSIDE = """
import statistics, time
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.conf import settings
from accounts.models import User
from accounts.permissions import effective
from accounts.reasons import reasons
from vms.models import VM
settings.ALLOWED_HOSTS = ["*"]
counts = []
for name in ("many", "one"):
    client = Client(); client.force_login(User.objects.get(username=name)); client.get("/vms/")
    with CaptureQueriesContext(connection) as found:
        assert client.get("/vms/").status_code == 200
    counts.append(len(found))
user, vm = User.objects.get(username="many"), VM.objects.select_related("cluster").first()
assert effective(user, vm) == set(reasons(user, vm)) != set()
times = []
for _ in range(200):
    begin = time.perf_counter(); effective(user, vm); reasons(user, vm); times.append(time.perf_counter() - begin)
print(*counts, statistics.quantiles(times, n=20)[-1] * 1000)
"""


def measure() -> list[Figure]:
    server = Server(SEED)
    try:
        many, one = (_p95_ms(server, cookie) for cookie in server.printed[-2:])
        queries_many, queries_one, explained = server.shell(INSIDE).split()[-3:]
    finally:
        server.stop()
    return [
        Figure(
            "granted_list_p95_ms", max(many, one), "ms", f"at most 150; {GRANTS} grants {many:.1f}, a grant on the data center {one:.1f} ms"
        ),
        Figure("granted_list_queries", max(int(queries_many), int(queries_one)), "", "at most 12"),
        Figure(
            "effective_permissions_ms", float(explained), "ms", "at most 10; what and why together, on one VM, of a user with 5,000 grants"
        ),
    ]


def _p95_ms(server: Server, cookie: str) -> float:
    for _ in range(5):
        server.seconds("/vms/", cookie=cookie)
    return statistics.quantiles([server.seconds("/vms/", cookie=cookie) for _ in range(REQUESTS)], n=20)[-1] * 1000
