"""Which host a new VM gets, and what each of the others lacks."""

import pytest

from hosts.models import HostStatus
from hosts.placement import OVERHEAD_BYTES, RESERVED_BYTES, pick
from portal.errors import NotPossible
from storage.models import StorageDomainHost, StorageStatus
from tests.build import make_cluster, make_host, make_storage, make_vm
from vms.models import VmStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster():
    return make_cluster(name="Default")


def test_the_host_with_most_memory_left_is_taken(cluster):
    full, empty = make_host(name="full", cluster=cluster), make_host(name="empty", cluster=cluster)
    make_vm(host=full, memory_mib=1024, status=VmStatus.UP)
    make_vm(host=empty, memory_mib=4096, status=VmStatus.DOWN)
    assert pick(cluster, 128, 1) == empty


def test_one_that_is_being_made_counts_as_if_it_ran(cluster):
    first, second = make_host(name="a", cluster=cluster), make_host(name="b", cluster=cluster)
    make_vm(host=first, memory_mib=512, status=VmStatus.IMAGE_LOCKED)
    assert pick(cluster, 128, 1) == second


@pytest.mark.parametrize("status", [status for status in HostStatus if status != HostStatus.UP])
def test_only_a_host_that_is_up_is_taken(cluster, status):
    make_host(name="node1", cluster=cluster, status=status)
    with pytest.raises(NotPossible, match=f"node1: it is {status.label.lower()}"):
        pick(cluster, 128, 1)


def test_a_vm_fits_to_the_last_byte_and_no_further(cluster):
    memory = RESERVED_BYTES + OVERHEAD_BYTES + (1024 << 20)
    host = make_host(name="node1", cluster=cluster, memory_bytes=memory)
    assert pick(cluster, 1024, 1) == host
    with pytest.raises(NotPossible, match="MiB left of the 1025 MiB"):
        pick(cluster, 1025, 1)


def test_local_disks_decide_the_host(cluster):
    here, elsewhere = make_host(name="here", cluster=cluster, memory_bytes=2 << 30), make_host(name="elsewhere", cluster=cluster)
    assert pick(cluster, 128, 1, here) == here
    here.status = HostStatus.MAINTENANCE
    here.save()
    with pytest.raises(NotPossible, match="elsewhere: its disks lie on here") as refused:
        pick(cluster, 128, 1, here)
    assert "here: it is maintenance" in refused.value.reason
    assert elsewhere.status == HostStatus.UP


def test_a_host_without_the_storage_is_passed_over_with_its_reason(cluster):
    storage = make_storage(name="shared", data_center=cluster.data_center)
    _without, with_it = make_host(name="a", cluster=cluster), make_host(name="b", cluster=cluster, memory_bytes=2 << 30)
    with pytest.raises(NotPossible, match="a: storage domain shared is not active there; b: storage domain shared"):
        pick(cluster, 128, 1, storage=[storage])
    StorageDomainHost.objects.create(domain=storage, host=with_it, status=StorageStatus.ACTIVE)
    assert pick(cluster, 128, 1, storage=[storage]) == with_it


def test_an_empty_cluster_says_so(cluster):
    with pytest.raises(NotPossible, match="Default can run this VM .it has no hosts."):
        pick(cluster, 128, 1)
