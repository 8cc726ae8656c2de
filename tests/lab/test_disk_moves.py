"""Disks grow, move and are copied on real hosts, under a running guest too; whatever fails, the disk is at one place."""

import hashlib
import shutil
from pathlib import Path

import pytest

from hosts.connect import link_of
from hypervisor import disks as live
from hypervisor import storage as pools
from jobs.errors import Cancelled
from jobs.models import JobStatus
from storage.models import Disk, DiskStatus
from tests.lab.test_every_step import breaking, changed, names_of, twice
from tests.lab.test_storage import new_domain, volumes
from tests.lab.test_vm_disks import defined, fresh, running
from tests.lab.test_vm_jobs import create
from vms.disks import resize, transfer, transfer_jobs

MIB = 1 << 20


@pytest.fixture(scope="module")
def directory(lab):
    """On the machine itself, so that both hosts see it."""
    made = Path(f"/var/lib/vireo/{lab.name}-second")
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def second(registered, directory):
    """Another shared storage domain."""
    domain, job = new_domain(registered, "shared_dir", str(directory), name="second")
    assert job.status == JobStatus.SUCCEEDED, job.error
    return domain


def disk_of(vm):
    return Disk.objects.select_related("domain", "host").get(attachments__vm=vm)


def places(registered, disk, *domains):
    """In which of the storage domains its volume is."""
    return [domain.name for domain in domains if disk.volume_name in volumes(registered.hosts[0], domain)]


def run(registered, job):
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)


def test_a_disk_grows_while_its_vm_is_down_and_while_it_runs(registered):
    for start in (False, True):
        vm = fresh(create(registered, name=f"grows-{start}", start=start))
        disk = disk_of(vm)
        run(registered, resize.resize(registered.admin, disk, disk.capacity_bytes + 64 * MIB))
        wanted = Disk.objects.get(pk=disk.pk).capacity_bytes
        assert wanted == disk.capacity_bytes + 64 * MIB
        volumes(registered.hosts[0], registered.shared)
        assert pools.volume_info(link_of(vm.host), registered.shared.pool_name, disk.volume_name).capacity == wanted


@pytest.mark.parametrize("start", [False, True], ids=["down", "running"])
def test_a_disk_moves_whole_and_leaves_nothing_behind(registered, second, start):
    vm = fresh(create(registered, start=start))
    disk = disk_of(vm)
    run(registered, transfer.move(registered.admin, disk, second))
    disk.refresh_from_db()
    assert (disk.domain, disk.backing, disk.status) == (second, None, DiskStatus.OK)
    assert places(registered, disk, registered.shared, second) == ["second"]
    assert defined(vm)["vda"] == disk.path
    if start:
        assert running(vm, "vda") == disk.path
    vm.refresh_from_db()
    assert vm.drift == []


@pytest.mark.parametrize("start", [False, True], ids=["down", "running"])
def test_whichever_step_of_a_move_fails_the_disk_is_at_one_place(registered, second, start):
    vm = fresh(create(registered, start=start))
    for step in names_of("disk.move")[:2]:
        for done in (False, True):
            disk = disk_of(vm)
            target = second if disk.domain == registered.shared else registered.shared
            with changed("disk.move", lambda steps, step=step, done=done: breaking(step, done)(twice(steps))):
                job = registered.run(transfer.move(registered.admin, disk, target))
            assert (job.status, job.error) == (JobStatus.FAILED, f"{step} broke")
            assert not job.steps.filter(status="undo_failed").exists()
            disk.refresh_from_db()
            assert places(registered, disk, registered.shared, second) == [disk.domain.name]
            assert defined(vm)["vda"] == disk.path
            if start:
                assert running(vm, "vda") == disk.path
                assert live.mirror_of(link_of(vm.host), str(vm.pk), "vda") is None


def test_a_live_move_that_is_cancelled_deletes_its_target(registered, second, monkeypatch):
    vm = fresh(create(registered, start=True))
    disk = disk_of(vm)
    found = live.mirror_of

    def cancelled(link, uuid, target):
        mirror = found(link, uuid, target)
        if mirror is not None and not cancels:
            cancels.append(mirror)
            raise Cancelled
        return mirror

    cancels = []
    monkeypatch.setattr(transfer_jobs.live, "mirror_of", cancelled)
    job = registered.run(transfer.move(registered.admin, disk, second))
    assert (job.status, len(cancels)) == (JobStatus.CANCELLED, 1)
    assert places(registered, disk, registered.shared, second) == ["shared"]
    assert running(vm, "vda") == disk.path


@pytest.mark.parametrize("start", [False, True], ids=["down", "running"])
def test_a_copy_has_the_same_content_and_the_source_goes_on(registered, second, start):
    vm = fresh(create(registered, start=start))
    source = disk_of(vm)
    made, job = transfer.copy(registered.admin, source, transfer.NewCopy(name="copy", domain=second, format="raw"))
    run(registered, job)
    made.refresh_from_db()
    assert (made.status, made.format, made.capacity_bytes) == (DiskStatus.OK, "raw", source.capacity_bytes)
    assert Path(made.path).stat().st_size == source.capacity_bytes
    if start:
        assert running(vm, "vda") == source.path
        assert live.mirror_of(link_of(vm.host), str(vm.pk), "vda") is None
    else:
        again, job = transfer.copy(registered.admin, made, transfer.NewCopy(name="again", domain=second))
        run(registered, job)
        again.refresh_from_db()
        assert hashlib.sha256(Path(again.path).read_bytes()).digest() == hashlib.sha256(Path(made.path).read_bytes()).digest()


def test_a_copy_that_breaks_leaves_nothing(registered, second):
    vm = fresh(create(registered, start=True))
    for step in names_of("disk.copy"):
        with changed("disk.copy", breaking(step, True)):
            made, job = transfer.copy(registered.admin, disk_of(vm), transfer.NewCopy(name="copy", domain=second))
            assert registered.run(job).status == JobStatus.FAILED
        assert not Disk.objects.filter(pk=made.pk).exists()
        assert places(registered, made, registered.shared, second) == []
        assert live.mirror_of(link_of(vm.host), str(vm.pk), "vda") is None
