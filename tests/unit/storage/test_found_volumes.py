"""What a scan lists, on a host of libvirt's test driver, and deleting what it found from the page."""

import pytest
from django.urls import reverse

from hosts.connect import forget, link_of
from hypervisor import storage as pools
from hypervisor.spec import PoolSpec, VolumeSpec
from jobs import runner
from jobs.models import Job, JobStatus
from storage import domains
from storage.models import Disk, DiskContent, DiskStatus, FoundVolume, StorageDomainHost, StorageStatus
from tests.build import make_data_center, make_disk, make_storage, make_user, make_vm
from tests.driver_host import driver_host
from vms.models import Layer
from vms.snapshots.rows import layer_volume

MIB = 1 << 20


@pytest.fixture
def host(transactional_db, tmp_path):
    made = driver_host(tmp_path)
    yield made
    forget(made)


@pytest.fixture
def domain(host, tmp_path):
    """A shared directory that the host has active."""
    made = make_storage(data_center=host.cluster.data_center, path=str(tmp_path / "pool"))
    pools.ensure_pool(link_of(host), PoolSpec(made.pool_name, made.path))
    StorageDomainHost.objects.create(domain=made, host=host, status=StorageStatus.ACTIVE)
    return made


@pytest.fixture
def admin(client, host):
    user = make_user("admin", role="SuperUser")
    client.force_login(user)
    return user


def put(host, domain, *names):
    for name in names:
        pools.create_volume(link_of(host), domain.pool_name, VolumeSpec(name, MIB, "raw"))


def there(host, domain):
    return pools.volume_names(link_of(host), domain.pool_name)


def scanned(user, domain):
    job = domains.scan_domain(user, domain)
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    return {found.name for found in FoundVolume.objects.filter(domain=domain)}


def test_layers_seeds_and_saved_memory_are_never_found(admin, host, domain):
    vm = make_vm(host=host)
    disk, taken = (make_disk(domain=domain, status=DiskStatus.OK, **fields) for fields in ({}, {"volume": "taken-in.img", "path": "/taken-in.img"}))
    seed = make_disk(domain=domain, content=DiskContent.SEED, format="raw", status=DiskStatus.OK)
    layers = [layer_volume(each, "snapshot") for each in (disk, taken)]
    frozen = Layer.objects.create(disk=taken, volume="taken-in-below.img")
    ours = {disk.volume_name, taken.volume_name, seed.volume_name, *layers, frozen.volume, f"{vm.pk}.snapshot.memory"}
    put(host, domain, *ours, "left-behind.raw")
    assert scanned(admin, domain) == {"left-behind.raw"}
    assert there(host, domain) == ours | {"left-behind.raw"}
    assert not Disk.objects.filter(status=DiskStatus.ILLEGAL).exists()


def test_what_a_deleted_vm_left_is_found(admin, host, domain):
    vm = make_vm(host=host)
    name = f"{vm.pk}.snapshot.memory"
    put(host, domain, name)
    assert scanned(admin, domain) == set()
    vm.delete()
    assert scanned(admin, domain) == {name}


def test_a_disk_whose_volume_is_gone_becomes_illegal_and_one_that_a_job_works_on_does_not(admin, host, domain):
    lost, busy = (make_disk(domain=domain, status=DiskStatus.OK, path=f"/{name}") for name in ("lost", "busy"))
    job = Job.objects.create(kind="disk.move", title="a move", object_type="disk", object_id=busy.pk)
    job.locks.create(object_type="disk", object_id=busy.pk)
    scanned(admin, domain)
    assert list(Disk.objects.filter(status=DiskStatus.ILLEGAL)) == [lost]


def test_a_found_volume_is_deleted_from_the_page(client, admin, host, domain):
    put(host, domain, "left-behind.raw", "other.raw")
    scanned(admin, domain)
    found = FoundVolume.objects.get(name="left-behind.raw")
    url = reverse("storage:delete-found", args=[domain.pk, found.pk])
    page = client.get(reverse("storage:take-in", args=[domain.pk])).content.decode()
    assert url in page and "left-behind.raw" in page
    assert client.get(url).status_code == 405
    assert client.post(url).status_code == 302
    job = Job.objects.get(kind="storage.remove_found")
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert there(host, domain) == {"other.raw"}
    assert [each.name for each in FoundVolume.objects.all()] == ["other.raw"]
    assert client.post(url).status_code == 404


def test_a_volume_that_became_a_disk_meanwhile_is_not_deleted(client, admin, host, domain):
    put(host, domain, "left-behind.raw")
    scanned(admin, domain)
    found = FoundVolume.objects.get()
    client.post(reverse("storage:delete-found", args=[domain.pk, found.pk]))
    make_disk(domain=domain, status=DiskStatus.OK, path=found.path, volume=found.name)
    job = Job.objects.get(kind="storage.remove_found")
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED and "belongs to a disk" in job.error
    assert "left-behind.raw" in there(host, domain)


@pytest.fixture
def found(db):
    domain = make_storage(name="theirs")
    return FoundVolume.objects.create(domain=domain, name="left.raw", path="/left.raw", format="raw", capacity_bytes=1, allocated_bytes=1)


def test_a_found_volume_of_others_is_not_found(client, found):
    ours = make_storage(name="ours", data_center=make_data_center())
    client.force_login(make_user("mallory", role="StorageAdmin", on=ours))
    for domain in (found.domain, ours):  # theirs by its own address, and by ours
        assert client.post(reverse("storage:delete-found", args=[domain.pk, found.pk])).status_code == 404
        client.post(reverse("storage:take-in", args=[domain.pk]), {"volume": found.pk})
    assert FoundVolume.objects.filter(pk=found.pk).exists()
    assert not Job.objects.exists() and not Disk.objects.exists()


def test_who_only_makes_disks_there_deletes_nothing(client, found):
    client.force_login(make_user("eve", role="DiskCreator", on=found.domain))
    client.post(reverse("storage:delete-found", args=[found.domain.pk, found.pk]))
    assert client.get(reverse("storage:take-in", args=[found.domain.pk])).status_code == 403
    assert FoundVolume.objects.filter(pk=found.pk).exists() and not Job.objects.exists()
