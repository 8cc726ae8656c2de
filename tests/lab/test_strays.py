"""A look through a storage domain on real hosts."""

from hosts.connect import link_of
from hypervisor import storage as pools
from hypervisor.spec import VolumeSpec
from jobs.models import JobStatus
from storage import domains, services
from storage.disks import strays
from storage.models import Disk, DiskStatus, FoundVolume
from tests.lab.test_storage import volumes
from tests.lab.test_vm_jobs import create
from vms.guest.first_boot import seed_of
from vms.guest.settings import FirstBoot, SetUpBy
from vms.models import Layer
from vms.snapshots import services as snapshots

MIB = 1 << 20


def scan(registered, domain):
    job = registered.run(domains.scan_domain(registered.admin, domain))
    assert job.status == JobStatus.SUCCEEDED, job.error


def test_what_nobody_owns_is_found_and_removed_and_what_is_gone_is_illegal(registered):
    create(registered)
    kept, job = services.create_disk(registered.admin, services.NewDisk(name="kept", domain=registered.shared, capacity_bytes=MIB))
    registered.run(job)
    lost, job = services.create_disk(registered.admin, services.NewDisk(name="lost", domain=registered.shared, capacity_bytes=MIB))
    registered.run(job)
    link = link_of(registered.hosts[0])
    pools.create_volume(link, registered.shared.pool_name, VolumeSpec("left-behind.qcow2", MIB))
    pools.delete_volume(link, registered.shared.pool_name, lost.volume_name)
    before = volumes(registered.hosts[0], registered.shared)

    scan(registered, registered.shared)
    stray = FoundVolume.objects.get()
    assert (stray.name, stray.domain) == ("left-behind.qcow2", registered.shared)
    assert list(Disk.objects.filter(status=DiskStatus.ILLEGAL)) == [lost]
    assert volumes(registered.hosts[0], registered.shared) == before  # a look changes nothing

    job = registered.run(strays.remove(registered.admin, stray))
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert volumes(registered.hosts[0], registered.shared) == before - {"left-behind.qcow2"}
    assert not FoundVolume.objects.exists()
    lost.refresh_from_db()
    assert registered.run(services.remove_disk(registered.admin, lost)).status == JobStatus.SUCCEEDED
    assert Disk.objects.filter(pk=kept.pk).exists()


def test_a_local_domain_is_looked_through_on_each_host(registered):
    second = link_of(registered.hosts[1])
    pools.create_volume(second, registered.local.pool_name, VolumeSpec("left-behind.raw", MIB, "raw"))
    for _ in range(2):
        scan(registered, registered.local)
        assert [(stray.name, stray.host) for stray in FoundVolume.objects.all()] == [("left-behind.raw", registered.hosts[1])]


def test_what_belongs_to_a_vm_with_snapshots_and_first_boot_settings_is_not_found(registered):
    vm = create(registered, first_boot=FirstBoot(by=SetUpBy.CLOUD_INIT, user="alice"), start=True)
    snapshot, job = snapshots.take(registered.admin, vm, "running", memory=True)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    snapshot.refresh_from_db()
    assert {snapshot.memory_volume, seed_of(vm).disk.volume_name} < volumes(registered.hosts[0], registered.shared)
    assert Layer.objects.count() == 2

    scan(registered, registered.shared)
    assert not FoundVolume.objects.exists()
    assert not Disk.objects.exclude(status=DiskStatus.OK).exists()
