"""Every verb that makes a disk larger or brings one somewhere asks the storage domain for space, and for a format that it takes."""

import pytest

from hosts.models import HostStatus
from jobs.models import Job
from portal.errors import FieldError
from storage.images import incoming
from storage.images.models import ImageSource
from storage.models import Disk, DiskStatus, StorageDomainHost, StorageStatus
from tests.build import make_disk, make_host, make_storage, make_user, make_vm
from vms.disks import resize, services, transfer
from vms.models import VmStatus

pytestmark = pytest.mark.django_db
GIB = 1 << 30


@pytest.fixture
def admin():
    return make_user(role="SuperUser")


@pytest.fixture
def host():
    return make_host(status=HostStatus.UP)


@pytest.fixture
def full(host):
    """A domain that may promise 10 GiB, and promised 9."""
    domain = make_storage(name="full", data_center=host.cluster.data_center, capacity_bytes=10 * GIB, available_bytes=10 * GIB, overcommit=1)
    StorageDomainHost.objects.create(domain=domain, host=host, status=StorageStatus.ACTIVE)
    make_disk(name="first", domain=domain, capacity_bytes=9 * GIB, status=DiskStatus.OK)
    return domain


@pytest.fixture
def disk(host):
    """2 GiB that lie elsewhere."""
    return make_disk(name="data", domain=make_storage(data_center=host.cluster.data_center), capacity_bytes=2 * GIB, status=DiskStatus.OK)


def attach_new(admin, host, domain, **fields):
    vm = make_vm(host=host, cluster=host.cluster, status=VmStatus.DOWN)
    return services.attach_new(admin, vm, services.NewAttached(**{"domain": domain, "capacity_bytes": 2 * GIB} | fields))


def upload(admin, domain):
    new = incoming.Incoming(user=admin, domain=domain, name="x", file_name="x", source=ImageSource.UPLOAD, file_format="raw", virtual_bytes=2 * GIB)
    return incoming.add(new)


def test_none_takes_more_than_the_domain_may_promise(admin, host, full, disk):
    before = set(Disk.objects.values_list("pk", "capacity_bytes", "domain_id"))
    for field, verb in (
        ("capacity_bytes", lambda: attach_new(admin, host, full)),
        ("capacity_bytes", lambda: resize.resize(admin, full.disks.get(), 11 * GIB)),
        ("domain", lambda: transfer.move(admin, disk, full)),
        ("domain", lambda: transfer.copy(admin, disk, transfer.NewCopy(name="copy", domain=full))),
        ("file", lambda: upload(admin, full)),
    ):
        with pytest.raises(FieldError, match="GiB are left") as refused:
            verb()
        assert refused.value.field == field
    assert set(Disk.objects.values_list("pk", "capacity_bytes", "domain_id")) == before
    assert not Job.objects.exists()


def test_what_fits_is_taken(admin, full):
    resize.resize(admin, full.disks.get(), 10 * GIB)
    assert full.disks.get().capacity_bytes == 10 * GIB


def test_block_storage_takes_no_qcow2(admin, host, disk):
    rbd = make_storage(name="ceph", kind="rbd", data_center=host.cluster.data_center)
    StorageDomainHost.objects.create(domain=rbd, host=host, status=StorageStatus.ACTIVE)
    with pytest.raises(FieldError, match="data is qcow2: copy it there"):
        transfer.move(admin, disk, rbd)
    with pytest.raises(FieldError, match="Disks in ceph are raw"):
        transfer.copy(admin, disk, transfer.NewCopy(name="copy", domain=rbd, format="qcow2"))
    with pytest.raises(FieldError, match="Disks in ceph are raw"):
        attach_new(admin, host, rbd, format="qcow2")
    assert transfer.copy(admin, disk, transfer.NewCopy(name="copy", domain=rbd))[0].format == "raw"
