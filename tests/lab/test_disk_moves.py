"""Disks grow, move and are copied on real hosts, under a running guest too; whatever fails, the disk is at one place."""

import hashlib
import shutil
import subprocess
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
from vms import services
from vms.disks import resize, sparsify, transfer, transfer_jobs
from vms.services import NewVm

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


def full_of_zeros(registered, vm):
    """Its disk holds one MiB of sevens, and 32 MiB of written zeros."""
    disk = disk_of(vm)
    path = registered.lab.shared / disk.volume_name
    for command in ("write -P 0 0 32M", "write -P 7 40M 1M"):
        subprocess.run(["qemu-io", "-f", disk.format, "-c", command, str(path)], check=True, capture_output=True)
    return disk, path.stat().st_blocks * 512


def whole(registered):
    """A VM whose disk builds on no template's."""
    new = NewVm(name="web-01", cluster=registered.cluster, memory_mib=128, disk_bytes=64 * MIB, storage_domain=registered.shared)
    vm, job = services.create(registered.admin, new)
    run(registered, job)
    return fresh(vm)


def test_a_disk_gives_back_what_it_does_not_need(registered):
    vm = whole(registered)
    disk, before = full_of_zeros(registered, vm)
    job = sparsify.sparsify(registered.admin, disk)
    run(registered, job)
    disk.refresh_from_db()
    path = registered.lab.shared / disk.volume_name
    assert path.name != f"{disk.pk}.qcow2" and disk.status == DiskStatus.OK
    assert path.stat().st_blocks * 512 < 8 * MIB < 32 * MIB < before
    assert disk.allocated_bytes < 8 * MIB
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "read -P 7 40M 1M", "-c", "read -P 0 0 32M", str(path)], check=True, capture_output=True
    )
    assert defined(vm)["vda"] == disk.path
    assert {file.name for file in registered.lab.shared.glob("*.qcow2")} >= {path.name}
    assert not (registered.lab.shared / f"{disk.pk}.qcow2").exists()
    assert registered.run(services.act(registered.admin, fresh(vm), "start")).status == JobStatus.SUCCEEDED


def test_whichever_step_of_that_fails_the_disk_is_one_file_that_its_row_names(registered):
    vm = whole(registered)
    disk, _before = full_of_zeros(registered, vm)
    for step in names_of("disk.sparsify"):
        for done in (False, True):
            with changed("disk.sparsify", lambda steps, step=step, done=done: breaking(step, done)(twice(steps))):
                job = registered.run(sparsify.sparsify(registered.admin, disk_of(vm)))
            assert job.status == JobStatus.FAILED
            assert not job.steps.filter(status="undo_failed").exists()
            disk = disk_of(vm)
            files = {file.name for file in registered.lab.shared.glob("*.qcow2")} - {
                each.volume_name for each in Disk.objects.exclude(pk=disk.pk)
            }
            assert files == {disk.volume_name}
            assert defined(vm)["vda"] == disk.path
