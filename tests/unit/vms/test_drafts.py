"""What a new VM is made of before any host is asked: names that hosts can bear, disks and what they are copies of."""

import pytest

from jobs import runner
from jobs.models import JobStatus
from portal.errors import FieldError, NotPossible
from storage.models import Disk, DiskStatus, StorageKind
from tests.build import attach, make_cluster, make_disk, make_host, make_storage, make_template, make_user, make_vm
from vms import services
from vms.models import VM
from vms.services import NewVm

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


@pytest.fixture
def cluster():
    return make_cluster(name="Default")


@pytest.fixture
def shared(cluster):
    return make_storage(name="shared", data_center=cluster.data_center)


def created(admin, cluster, **fields):
    vm, job = services.create(admin, NewVm(**{"name": "web-01", "cluster": cluster, "disk_bytes": 1 << 30} | fields))
    return VM.objects.get(pk=vm.pk), job


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("name", "prefix"), [("a/b", "a_b-"), ("..", "..-"), ("ü" * 255, "u" * 200 + "-"), ("漢字" * 20, "vm-")])
def test_a_name_that_no_file_may_have_is_changed_for_the_domain_alone(admin, cluster, name, prefix):
    vm, _job = created(admin, cluster, name=name)
    assert vm.name == name
    assert vm.domain_name == prefix + vm.pk.hex[:8]


@pytest.mark.usefixtures("shared")
def test_the_name_of_a_domain_whose_vm_was_renamed_is_not_used_again(admin, cluster):
    make_vm(name="renamed", domain_name="web-01", cluster=cluster)
    vm, _job = created(admin, cluster)
    assert (vm.name, vm.domain_name) == ("web-01", f"web-01-{vm.pk.hex[:8]}")


def test_a_template_in_another_storage_domain_is_copied_in_full(admin, cluster, shared):
    source = make_disk(domain=make_storage(data_center=cluster.data_center))
    template = make_template(data_center=cluster.data_center, disks=[source])
    vm, job = created(admin, cluster, template=template, storage_domain=shared)
    disk = Disk.objects.get(attachments__vm=vm)
    assert (disk.domain, disk.backing, job.params["copies"]) == (shared, None, {str(disk.pk): str(source.pk)})


def test_a_template_that_is_still_being_made_is_refused(admin, cluster, shared):
    template = make_template(data_center=cluster.data_center, disks=[make_disk(domain=shared, status=DiskStatus.LOCKED)])
    with pytest.raises(FieldError, match="not ready") as refused:
        created(admin, cluster, template=template)
    assert refused.value.field == "template"


def test_a_host_that_lacks_the_templates_disks_is_refused(admin, cluster):
    here, elsewhere = make_host(name="here", cluster=cluster), make_host(name="elsewhere", cluster=cluster)
    local = make_storage(data_center=cluster.data_center, kind=StorageKind.LOCAL_DIR)
    template = make_template(data_center=cluster.data_center, disks=[make_disk(domain=local, host=here)])
    with pytest.raises(FieldError, match="lie on here alone") as refused:
        created(admin, cluster, template=template, host=elsewhere)
    assert refused.value.field == "host"


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("fields", "field"), [({"firmware": "coreboot"}, "firmware"), ({"os": "x" * 65}, "os")])
def test_words_that_no_machine_knows_are_refused_at_their_field(admin, cluster, fields, field):
    with pytest.raises(FieldError) as refused:
        created(admin, cluster, **fields)
    assert refused.value.field == field


@pytest.mark.usefixtures("shared")
def test_a_vm_that_no_host_can_take_leaves_no_row(admin, cluster):
    vm, job = created(admin, cluster)
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.status, job.object_name) == (JobStatus.FAILED, "web-01")
    assert "it has no hosts" in job.error
    assert not VM.objects.exists()
    assert not Disk.objects.exists()


def test_a_template_is_not_removed_under_a_thin_copy_without_a_vm_nor_under_one_that_is_being_made(admin, cluster, shared):
    source = make_disk(domain=shared)
    template = make_template(name="tiny", data_center=cluster.data_center, disks=[source])
    kept = make_disk(name="kept", domain=shared, backing=source)
    with pytest.raises(NotPossible, match="belong to kept"):
        services.remove_template(admin, template)
    kept.delete()
    vm, _job = created(admin, cluster, template=template, storage_domain=make_storage(data_center=cluster.data_center))
    with pytest.raises(NotPossible, match=vm.name):
        services.remove_template(admin, template)


def test_a_disk_that_two_vms_share_does_not_go_with_one_of_them(shared, cluster):
    disk, own = make_disk(domain=shared), make_disk(domain=shared)
    first, second = make_vm(cluster=cluster), make_vm(cluster=cluster)
    attach(first, disk)
    attach(first, own, "vdb")
    attach(second, disk)
    assert services.own_disks(first) == [own]


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("text", ["bell \x07", "null \x00", "half \ud800", "none \uffff"])
@pytest.mark.parametrize("field", ["name", "description", "tags"])
def test_what_no_xml_can_hold_is_refused_at_its_field(admin, cluster, text, field):
    with pytest.raises(FieldError) as refused:
        created(admin, cluster, **{field: (text,) if field == "tags" else text})
    assert refused.value.field == field


@pytest.mark.usefixtures("shared")
def test_a_description_may_have_lines(admin, cluster):
    vm, _job = created(admin, cluster, description="first\r\n\tsecond «ü» 漢")
    assert vm.description == "first\r\n\tsecond «ü» 漢"


def test_no_template_is_made_of_a_vm_without_disks_of_ours(admin, cluster):
    vm = make_vm(cluster=cluster, host=make_host(cluster=cluster))
    attach(vm, make_disk(domain=None, path="/foreign.img"))
    with pytest.raises(NotPossible, match="nothing to make a template of"):
        services.make_template(admin, vm, "golden")


def test_two_edits_at_once_both_count(admin, cluster):
    vm = make_vm(cluster=cluster, status="up", memory_mib=128, vcpus=1)
    stale = VM.objects.get(pk=vm.pk)
    services.edit(admin, vm, {"memory_mib": 256})
    services.edit(admin, stale, {"vcpus": 2, "delete_protected": True})
    vm.refresh_from_db()
    assert (vm.next_run, vm.delete_protected) == ({"memory_mib": 256, "vcpus": 2}, True)


def test_hardware_that_is_changed_while_a_job_works_on_the_vm_waits_for_its_next_run(admin, cluster):
    vm = make_vm(cluster=cluster, host=make_host(cluster=cluster), memory_mib=128)
    services.act(admin, vm, "start")
    vm, job = services.edit(admin, vm, {"memory_mib": 256})
    assert (job, vm.memory_mib, vm.next_run) == (None, 128, {"memory_mib": 256})
