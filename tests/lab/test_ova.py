"""Whole machines in and out, on real hosts."""

import os
import subprocess
from datetime import timedelta

import pytest
from django.utils import timezone

from hosts.connect import link_of
from hypervisor import domains
from jobs.models import JobStatus, Lock
from storage.images import ova as reading
from storage.images import spool
from storage.images.models import Upload, UploadStatus
from storage.models import Disk, DiskStatus
from tests.lab.test_every_step import breaking, changed, names_of, twice
from tests.unit.images import ova_files
from vms.models import VM, Firmware, VmStatus
from vms.ova import services

MIB = 1 << 20


@pytest.fixture(autouse=True)
def empty_spool(settings, tmp_path):
    settings.UPLOAD_DIR = tmp_path / "uploads"


@pytest.fixture
def content():
    return os.urandom(MIB) + bytes(7 * MIB)


def uploaded(registered, content, **changes):
    upload = Upload.objects.create(
        user=registered.admin, domain=registered.shared, name="web.ova", file_name="web.ova", length=1, offset=1, status=UploadStatus.COMPLETE, expires_at=timezone.now() + timedelta(days=1)
    )
    ova_files.vmware(spool.path_of(upload.pk), content, **changes)
    for path in spool.path_of(upload.pk).parent.glob("content.*"):
        path.unlink()
    return upload


def wanted(registered, **fields):
    return services.FromOva(**{"name": "web", "cluster": registered.cluster, "domain": registered.shared, "network": registered.network} | fields)


def files():
    return [path.name for path in spool.path_of(Upload().pk).parent.iterdir()]


def test_ova_becomes_a_vm_and_a_vm_an_ova(registered, content, tmp_path):
    vm, job = services.create(registered.admin, uploaded(registered, content), wanted(registered))
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    vm.refresh_from_db()
    assert (vm.status, vm.vcpus, vm.memory_mib, vm.firmware, vm.nics.get().network) == (VmStatus.DOWN, 2, 128, Firmware.EFI, registered.network)
    first, second = services.disks_of(vm)
    assert (first.capacity_bytes, first.status, second.capacity_bytes, second.status) == (8 * MIB, DiskStatus.OK, 1 << 30, DiskStatus.OK)
    whole = tmp_path / "whole"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(registered.lab.shared / first.volume_name), str(whole)], check=True)
    assert whole.read_bytes() == content
    assert first.path in domains.get(link_of(vm.host), str(vm.pk)).xml
    assert files() == []

    job = registered.run(services.export(registered.admin, vm))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    path = services.export_path(vm)
    found = reading.read(path)
    reading.verify(path, found, lambda done, total: None)
    assert (found.machine.name, found.machine.vcpus, found.machine.memory_mib, found.machine.firmware) == ("web", 2, 128, "efi")
    assert [disk.capacity_bytes for disk in found.disks] == [8 * MIB, 1 << 30] and found.machine.nics == (registered.network.name,)
    assert files() == [path.name]


def test_wrong_checksum_leaves_nothing(registered, content):
    other = ova_files.vmdk(spool.path_of(Upload().pk).parent, content[:-1] + b"x")
    vm, job = services.create(registered.admin, uploaded(registered, content, disk=other), wanted(registered))
    job = registered.run(job)
    assert job.status == JobStatus.FAILED and "manifest" in job.error
    assert not VM.objects.exists() and not Disk.objects.filter(name__startswith="web").exists() and not Lock.objects.exists() and files() == []


def test_whichever_step_of_an_import_fails_nothing_is_left_and_done_twice_it_is_made_once(registered, content):
    before = set(Disk.objects.all())
    volumes = {path.name for path in registered.lab.shared.iterdir()}
    for step in names_of("vm.import"):
        with changed("vm.import", lambda steps, step=step: breaking(step, True)(twice(steps))):
            _vm, job = services.create(registered.admin, uploaded(registered, content), wanted(registered))
            job = registered.run(job)
        assert (job.status, job.error) == (JobStatus.FAILED, f"{step} broke")
        assert not VM.objects.exists() and set(Disk.objects.all()) == before and not Lock.objects.exists() and files() == []
        assert {path.name for path in registered.lab.shared.iterdir()} == volumes
    with changed("vm.import", twice):
        vm, job = services.create(registered.admin, uploaded(registered, content), wanted(registered))
        job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    vm.refresh_from_db()
    with changed("vm.export", twice):
        job = registered.run(services.export(registered.admin, vm))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
