"""Disks of their own, ISOs and templates count against quotas as the disks of VMs do."""

from uuid import uuid4

import pytest

from accounts.permissions import grant
from accounts.quotas.models import Resource
from accounts.quotas.usage import used
from events.models import Event
from hosts.models import QuotaMode
from jobs.context import Context
from jobs.errors import StepFailed
from jobs.models import Job, Lock
from portal.errors import FieldError, NotPossible
from storage import services as storage
from storage.images import uploads
from storage.models import Disk
from tests.build import make_user
from vms import services
from vms.jobs_change import draft_template
from vms.models import VM, Template, VmStatus

pytestmark = pytest.mark.django_db
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def disk_maker(site):
    grant("DiskCreator", site.data_center, user=site.eve)
    return site.eve


def new_disk(site, size=GIB, **fields):
    return storage.NewDisk(**{"name": "data", "domain": site.storage, "capacity_bytes": size} | fields)


def uploaded(site, user, size):
    """An upload whose bytes all came, as a disk and its job."""
    upload = uploads.begin(user, uploads.NewUpload(domain=site.storage, file_name="tiny.iso", length=size))
    return uploads.make_disk(upload, "iso", size)


def made_vm(site, **fields):
    """A VM that is down, and whose job has ended."""
    vm, job = services.create(site.eve, site.new(**fields))
    Lock.objects.filter(job=job).delete()
    VM.objects.filter(pk=vm.pk).update(status=VmStatus.DOWN)
    vm.refresh_from_db()
    return vm


def claimed(job):
    """As a worker's run of the job sees it."""
    claim = uuid4()
    Job.objects.filter(pk=job.pk).update(claimed_by=claim)
    return Context(Job.objects.get(pk=job.pk), claim)


def test_a_disk_counts_and_is_refused_at_its_size(site, disk_maker):
    quota = site.quota(storage_bytes=2 * GIB)
    disk, _job = storage.create_disk(disk_maker, new_disk(site))
    assert disk.quota == quota and used(quota, Resource.STORAGE) == GIB
    before = Disk.objects.count(), Job.objects.count()
    with pytest.raises(FieldError, match="1 GiB are used and this disk needs 2 GiB") as refused:
        storage.create_disk(disk_maker, new_disk(site, 2 * GIB))
    assert refused.value.field == "capacity_bytes" and (Disk.objects.count(), Job.objects.count()) == before


def test_a_disk_and_a_vm_share_the_storage_of_a_quota(site, disk_maker):
    site.quota(storage_bytes=GIB)
    storage.create_disk(disk_maker, new_disk(site))
    with pytest.raises(FieldError, match="1 GiB are used and this VM needs 1 GiB"):
        services.create(site.eve, site.new())


def test_without_a_quota_no_disk_lies_where_they_are_enforced(site, disk_maker):
    with pytest.raises(FieldError, match="you have none") as refused:
        storage.create_disk(disk_maker, new_disk(site))
    assert refused.value.field == "quota"
    site.set_mode(QuotaMode.AUDIT)
    assert storage.create_disk(disk_maker, new_disk(site))[0].quota is None
    assert "data was made without a quota" in Event.objects.get(kind="quota.missing").message


def test_anothers_quota_is_refused_for_a_disk(client, site, disk_maker):
    site.quota()
    theirs = site.quota(name="theirs", holder=make_user("somebody"))
    with pytest.raises(FieldError, match="may use"):
        storage.create_disk(disk_maker, new_disk(site, quota=theirs))
    client.force_login(disk_maker)
    body = {"name": "x", "capacity_bytes": "1 GiB", "domain": site.storage.pk}
    before = Disk.objects.count()
    assert client.post("/disks/new/", body | {"quota": theirs.pk}).status_code == 422
    assert Disk.objects.count() == before
    assert client.post("/disks/new/", body).status_code == 302


def test_an_iso_counts_and_leaves_nothing_when_it_is_refused(site, disk_maker):
    quota = site.quota(storage_bytes=1)
    before = Disk.objects.count()
    with pytest.raises(FieldError):
        uploaded(site, disk_maker, MIB)
    assert Disk.objects.count() == before
    type(quota).objects.get(pk=quota.pk).limits.update(amount=GIB)
    disk, _job = uploaded(site, disk_maker, MIB)
    assert disk.quota == quota and used(quota, Resource.STORAGE) == disk.capacity_bytes > 0


def test_a_template_is_refused_at_once_when_its_copies_do_not_fit(site):
    site.quota(storage_bytes=GIB)
    vm = made_vm(site)
    grant("TemplateCreator", site.data_center, user=site.eve)
    with pytest.raises(NotPossible, match="this template needs 1 GiB"):
        services.make_template(site.eve, vm, "golden")
    assert not Job.objects.filter(kind="template.create").exists()


def test_a_templates_disks_count_and_the_job_counts_again(site):
    quota = site.quota(storage_bytes=2 * GIB)
    vm = made_vm(site)
    grant("TemplateCreator", site.data_center, user=site.eve)
    first = services.make_template(site.eve, vm, "golden")
    Lock.objects.filter(job=first).delete()
    second = services.make_template(site.eve, vm, "silver")  # both fit while neither has rows
    draft_template(claimed(first))
    assert used(quota, Resource.STORAGE) == 2 * GIB
    with pytest.raises(StepFailed, match="this template needs 1 GiB"):
        draft_template(claimed(second))
    assert not Template.objects.filter(name="silver").exists() and used(quota, Resource.STORAGE) == 2 * GIB


def test_drift_that_is_accepted_must_fit(site):
    site.quota(memory_mib=1024)
    vm = made_vm(site)
    VM.objects.filter(pk=vm.pk).update(status=VmStatus.UP, drift=[{"field": "memory_mib", "wanted": 512, "found": 4096}])
    vm.refresh_from_db()
    with pytest.raises(FieldError, match="this change needs 3.5 GiB"):
        services.accept_drift(site.eve, vm)
    vm.refresh_from_db()
    assert vm.memory_mib == 512 and vm.drift
