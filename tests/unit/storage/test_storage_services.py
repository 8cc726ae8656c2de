"""Storage domains and disks, before any host is asked."""

import pytest
from django.core.exceptions import PermissionDenied

from hosts.models import HostStatus
from hypervisor.storage import PoolInfo
from portal.errors import FieldError, NotPossible
from storage import domains, observe, services
from storage.models import Disk, StorageDomain, StorageKind, StorageStatus
from tests.build import attach, make_data_center, make_disk, make_host, make_storage, make_template, make_user, make_vm
from vms.models import VmStatus

pytestmark = pytest.mark.django_db
GIB = 1 << 30


@pytest.fixture
def admin():
    return make_user(role="SuperUser")


def new_domain(**fields):
    return domains.NewDomain(**{"name": "disks", "data_center": fields.get("data_center") or make_data_center(), "kind": "shared_dir", "path": "/srv/vireo"} | fields)


@pytest.mark.parametrize(
    "path",
    ["", "relative/path", "/", "/srv", "/srv/../etc", "/srv//x", "/srv/./x", "/srv/a b", "/srv/x\ny", "/etc/libvirt", "/proc/1", "/tmp/x", "/srv/" + "x" * 1024, "/srv/$(id)"],
)
def test_path_that_is_no_plain_directory_is_refused(admin, path):
    with pytest.raises(FieldError) as refused:
        domains.create_domain(admin, new_domain(path=path))
    assert refused.value.field == "path"


def test_final_slash_does_not_make_another_directory(admin):
    domain, job = domains.create_domain(admin, new_domain(path="/srv/vireo/"))
    assert domain.path == "/srv/vireo"
    assert (job.kind, domain.status) == ("storage.create", StorageStatus.ACTIVATING)


@pytest.mark.parametrize("path", ["/srv/vireo", "/srv/vireo/below", "/srv/vireo/../vireo"])
def test_directory_of_another_domain_is_refused(admin, path):
    data_center = make_data_center()
    domains.create_domain(admin, new_domain(data_center=data_center))
    with pytest.raises(FieldError) as refused:
        domains.create_domain(admin, new_domain(data_center=data_center, name="other", path=path))
    assert refused.value.field == "path"


def test_name_is_unique_in_its_data_center_only(admin):
    data_center = make_data_center()
    domains.create_domain(admin, new_domain(data_center=data_center))
    domains.create_domain(admin, new_domain())
    with pytest.raises(FieldError) as refused:
        domains.create_domain(admin, new_domain(data_center=data_center, name="DISKS", path="/srv/else"))
    assert refused.value.field == "name"


def test_without_a_grant_nothing_is_created():
    with pytest.raises(PermissionDenied):
        domains.create_domain(make_user(role="UserRole"), new_domain())
    assert not StorageDomain.objects.exists()


def test_domain_with_disks_is_not_removed(admin):
    disk = make_disk()
    with pytest.raises(NotPossible, match="1 disk lies in"):
        domains.remove_domain(admin, disk.domain)


def test_domain_that_a_running_vm_uses_does_not_rest(admin):
    disk = make_disk()
    attach(make_vm(name="db", status=VmStatus.UP), disk)
    with pytest.raises(NotPossible, match="db"):
        domains.maintain_domain(admin, disk.domain)


@pytest.mark.parametrize("size", [0, 1024, 1 << 60])
def test_size_out_of_bounds_is_refused(admin, size):
    with pytest.raises(FieldError) as refused:
        services.create_disk(admin, services.NewDisk(name="d", domain=make_storage(), capacity_bytes=size))
    assert refused.value.field == "capacity_bytes"
    assert not Disk.objects.exists()


def test_local_disk_goes_where_most_space_is(admin):
    domain = make_storage(kind=StorageKind.LOCAL_DIR)
    for available in (10, 30, 20):
        observe.seen(domain, make_host(name=f"with-{available}"), PoolInfo(100 * GIB, 0, available * GIB, True))
    disk, _job = services.create_disk(admin, services.NewDisk(name="d", domain=domain, capacity_bytes=GIB))
    assert disk.host.name == "with-30"


def test_local_disk_on_a_host_without_the_domain_is_refused(admin):
    domain = make_storage(kind=StorageKind.LOCAL_DIR)
    with pytest.raises(FieldError) as refused:
        services.create_disk(admin, services.NewDisk(name="d", domain=domain, capacity_bytes=GIB, host=make_host()))
    assert refused.value.field == "host"


def test_disk_in_use_is_not_removed_and_says_by_whom(admin):
    disk = make_disk()
    attach(make_vm(name="web"), disk)
    with pytest.raises(NotPossible, match="web"):
        services.remove_disk(admin, disk)
    with pytest.raises(NotPossible, match="template"):
        services.remove_disk(admin, make_template().disks.get())
    base = make_disk()
    make_disk(backing=base)
    with pytest.raises(NotPossible, match="1 thin copy builds"):
        services.remove_disk(admin, base)


def test_shared_space_counts_once_and_a_failing_host_is_named():
    domain = make_storage(status=StorageStatus.UNKNOWN)
    first, second = make_host(), make_host(name="node2")
    observe.seen(domain, first, PoolInfo(100, 40, 60, True))
    observe.seen(domain, second, PoolInfo(100, 40, 60, True))
    domain.refresh_from_db()
    assert (domain.capacity_bytes, domain.available_bytes, domain.status) == (100, 60, StorageStatus.ACTIVE)
    observe.failed(domain, second, "stale file handle")
    domain.refresh_from_db()
    assert (domain.status, domain.status_reason) == (StorageStatus.ACTIVE, "not on node2: stale file handle")
    observe.failed(domain, first, "stale file handle")
    domain.refresh_from_db()
    assert domain.status == StorageStatus.INACTIVE


def test_domain_at_rest_is_not_woken_by_what_a_host_sees():
    domain = make_storage(status=StorageStatus.MAINTENANCE)
    observe.seen(domain, make_host(status=HostStatus.UP), PoolInfo(100, 0, 100, True))
    domain.refresh_from_db()
    assert domain.status == StorageStatus.MAINTENANCE


def test_domain_whose_only_host_is_lost_is_unknown():
    domain, host = make_storage(status=StorageStatus.UNKNOWN), make_host()
    observe.seen(domain, host, PoolInfo(100, 0, 100, True))
    host.status = HostStatus.NON_RESPONSIVE
    host.save()
    observe.host_lost(host)
    domain.refresh_from_db()
    assert (domain.status, domain.status_reason) == (StorageStatus.UNKNOWN, "no host that is up has it")
