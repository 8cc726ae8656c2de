"""Fifty at once for the last slot: one gets it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from jobs.models import Job
from portal.errors import FieldError
from storage.models import Disk
from tests.unit.quotas.conftest import Site
from vms import services
from vms.models import VM

REQUESTS = 50


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [{"vms": 1}, {"memory_mib": 600}, {"storage_bytes": 3 << 29}])
def test_of_parallel_requests_for_the_last_slot_one_is_let_through(limit):
    site = Site()
    quota = site.quota(**limit)
    disks = Disk.objects.count()
    gate = threading.Barrier(REQUESTS)

    def ask(number: int) -> str:
        gate.wait(30)
        try:
            services.create(site.eve, site.new(f"vm-{number}", start=True))
        except FieldError as error:
            return error.text
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(REQUESTS) as together:
        refusals = [text for text in together.map(ask, range(REQUESTS)) if text]
    assert len(refusals) == REQUESTS - 1 and all("Quota small allows" in text for text in refusals)
    assert VM.objects.filter(quota=quota).count() == Job.objects.count() == 1
    assert Disk.objects.count() == disks + 1
