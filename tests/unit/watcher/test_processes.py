"""Watchers as processes, killed as they may be: `manage.py watch` on hosts of libvirt's test driver."""

import signal
import time
import uuid
from pathlib import Path

import pytest
from django.utils import timezone

from hosts.models import Host, HostStatus, Watcher, WatchLease
from tests.build import make_cluster, make_host
from tests.processes import watcher
from tests.unit.watcher.conftest import write_node
from tests.waiting import until
from vms.models import VM, VmOrigin

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def four_hosts(tmp_path: Path) -> list[Host]:
    cluster = make_cluster()
    made = []
    for number in range(4):
        uri = write_node(tmp_path / f"{number}.xml", {f"web{number}": str(uuid.uuid4()), f"db{number}": str(uuid.uuid4())})
        made.append(make_host(cluster=cluster, test_uri=uri, last_seen_at=timezone.now()))
    return made


def holders() -> dict[uuid.UUID, int]:
    found: dict[uuid.UUID, int] = {}
    for holder in WatchLease.objects.filter(expires_at__gt=timezone.now()).values_list("watcher", flat=True):
        found[holder] = found.get(holder, 0) + 1
    return found


def test_two_share_the_hosts_and_one_takes_over_within_ten_seconds_of_the_others_sudden_death(four_hosts):
    with watcher() as first:
        until(lambda: sum(holders().values()) == 4, 30, "the first to hold all four")
        until(lambda: VM.objects.filter(origin=VmOrigin.ADOPTED).count() == 8, 20, "their domains to be adopted")
        dying = next(iter(holders()))
        with watcher():
            until(lambda: sorted(holders().values()) == [2, 2], 30, "the two to have two hosts each")
            first.send_signal(signal.SIGKILL)
            died = time.monotonic()
            until(lambda: sum(holders().values()) == 4 and dying not in holders(), 12, "the survivor to hold all four")
            assert time.monotonic() - died < 10
            until(lambda: Watcher.objects.count() == 1, 10, "the dead one to be forgotten")
    assert VM.objects.count() == 8, "each domain has one row, whoever watches"
    assert set(Host.objects.values_list("status", flat=True)) == {HostStatus.UP}


def test_an_orderly_end_frees_the_hosts_at_once(four_hosts):
    with watcher() as only:
        until(lambda: sum(holders().values()) == 4, 30, "it to hold all four")
        only.send_signal(signal.SIGTERM)
        assert only.wait(10) == 0
    assert not WatchLease.objects.exists() and not Watcher.objects.exists()


def test_an_idle_watcher_is_small(four_hosts):
    with watcher() as process:
        until(lambda: VM.objects.filter(origin=VmOrigin.ADOPTED).count() == 8, 30, "the domains to be adopted")
        status = Path(f"/proc/{process.pid}/status").read_text()
    resident_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    assert resident_kib < 110 * 1024
