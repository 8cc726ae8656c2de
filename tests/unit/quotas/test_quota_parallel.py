"""Fifty at once for the last slot: one gets it. So it is for who makes a VM, starts one, makes a disk, and whichever they mix."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from accounts.permissions import grant
from accounts.quotas.models import Resource
from accounts.quotas.usage import used
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from storage import services as storage
from storage.models import Disk
from tests.build import make_vm
from tests.unit.quotas.conftest import Site
from vms import services
from vms.models import VM

REQUESTS = 50
pytestmark = pytest.mark.django_db(transaction=True)


def all_at_once(ask: Callable[[int], object]) -> list[str]:
    """The words of those that were refused."""
    gate = threading.Barrier(REQUESTS)

    def one(number: int) -> str:
        gate.wait(30)
        try:
            ask(number)
        except FieldError as error:
            return error.text
        except NotPossible as error:
            return error.reason
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(REQUESTS) as together:
        return [text for text in together.map(one, range(REQUESTS)) if text]


def assert_one_got_it(refusals: list[str]) -> None:
    assert len(refusals) == REQUESTS - 1 and all("Quota small allows" in text for text in refusals), set(refusals)


@pytest.mark.parametrize("limit", [{"vms": 1}, {"memory_mib": 600}, {"storage_bytes": 3 << 29}])
def test_of_parallel_requests_for_the_last_slot_one_is_let_through(limit):
    site = Site()
    quota = site.quota(**limit)
    disks = Disk.objects.count()
    assert_one_got_it(all_at_once(lambda number: services.create(site.eve, site.new(f"vm-{number}", start=True))))
    assert VM.objects.filter(quota=quota).count() == Job.objects.count() == 1
    assert Disk.objects.count() == disks + 1


def test_of_vms_that_start_at_once_one_gets_the_last_memory():
    site = Site()
    quota, host = site.quota(memory_mib=600), site.cluster.hosts.get()
    vms = [make_vm(name=f"vm-{number}", host=host, memory_mib=512, quota=quota) for number in range(REQUESTS)]
    assert_one_got_it(all_at_once(lambda number: services.act(site.root, vms[number], "start")))
    assert Job.objects.count() == 1 and used(quota, Resource.MEMORY) == 512


def test_vms_and_disks_at_once_share_the_last_storage():
    site = Site()
    quota = site.quota(storage_bytes=3 << 29)
    grant("DiskCreator", site.data_center, user=site.eve)

    def ask(number: int) -> None:
        if number % 2:
            services.create(site.eve, site.new(f"vm-{number}"))
        else:
            storage.create_disk(site.eve, storage.NewDisk(name=f"disk-{number}", domain=site.storage, capacity_bytes=1 << 30))

    assert_one_got_it(all_at_once(ask))
    assert quota.disks.count() == Job.objects.count() == 1
