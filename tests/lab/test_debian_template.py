"""The job that makes the Debian template, with a small image in the place of the one that takes minutes to build."""

import subprocess

import pytest
from django.core.exceptions import PermissionDenied

from jobs.models import JobStatus
from lab import debian_image, debian_template
from portal.errors import NotPossible
from storage.models import Disk, DiskStatus
from tests.build import make_user
from tests.lab.test_every_step import breaking, changed, twice
from tests.lab.test_recovery import volumes_of
from tests.lab.test_vm_jobs import create
from vms.guest.settings import SetUpBy
from vms.models import Template


@pytest.fixture
def image(settings, tmp_path):
    settings.CACHE_DIR = tmp_path
    path = debian_image.path_of(tmp_path)
    path.parent.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "2G"], check=True)
    return path


def test_the_image_becomes_a_template_with_cloud_init(registered, image):
    template, job = debian_template.ask(registered.admin)
    with pytest.raises(NotPossible, match="built already"):
        debian_template.ask(registered.admin)
    with changed("template.debian", twice):
        job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    disk = template.disks.get()
    assert (disk.status, disk.capacity_bytes) == (DiskStatus.OK, debian_image.DISK_BYTES)
    assert (registered.lab.shared / disk.volume_name).read_bytes()[:4] == b"QFI\xfb"
    registered.__dict__["template"] = template
    vm = create(registered, start=True)
    assert vm.first_boot.by == SetUpBy.CLOUD_INIT

    again, job = debian_template.ask(registered.admin)
    registered.run(job)
    assert (again.name, again.version) == (template.name, 2)


@pytest.mark.parametrize(("step", "done"), [("build", False), ("upload", False), ("upload", True)])
def test_a_build_that_fails_leaves_nothing(registered, image, step, done):
    before = volumes_of(registered)
    with changed("template.debian", breaking(step, done)):
        _template, job = debian_template.ask(registered.admin)
        job = registered.run(job)
    assert job.status == JobStatus.FAILED
    assert list(Template.objects.all()) == [registered.template]
    assert not Disk.objects.filter(templates=None).exists() and volumes_of(registered) == before


def test_only_who_may_create_templates_builds_one(registered, image):
    with pytest.raises(PermissionDenied):
        debian_template.ask(make_user("nobody"))
    assert Template.objects.count() == 1
