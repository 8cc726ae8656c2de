"""Attaching, detaching and limiting disks as pages and the API ask for it: what is refused, and what one click leaves in the rows."""

import pytest
from django.core.exceptions import PermissionDenied

from accounts.permissions import grant
from jobs.errors import ObjectBusy
from jobs.models import Job, Lock
from portal.errors import FieldError, NotPossible
from storage.models import Disk, DiskContent, DiskStatus
from tests.build import attach, make_cluster, make_disk, make_host, make_storage, make_user, make_vm
from vms.disks import services
from vms.disks.targets import free_target
from vms.models import DiskAttachment, VmStatus

pytestmark = pytest.mark.django_db
MIB = 1 << 20


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


@pytest.fixture
def vm():
    """One that is down, with a disk as vda, and storage beside it."""
    cluster = make_cluster(name="Default")
    made = make_vm(name="web-01", cluster=cluster, status=VmStatus.DOWN, host=make_host(name="node1", cluster=cluster))
    attach(made, make_disk(name="system", domain=make_storage(name="shared", data_center=cluster.data_center)))
    return made


def spare(vm, **fields):
    return make_disk(**{"name": "data", "domain": vm.attachments.get(target="vda").disk.domain} | fields)


def run_out(vm, bus, count):
    """Takes `count` slots of a bus."""
    for _ in range(count):
        services._draft(vm, spare(vm), bus, read_only=False)


@pytest.mark.parametrize(
    ("bus", "taken", "target"),
    [
        ("virtio", [], "vda"),
        ("virtio", ["vda", "vdc", "sda"], "vdb"),
        ("scsi", ["sda", "vda"], "sdb"),
        ("sata", ["sd" + letter for letter in "abcdef"], None),
    ],
)
def test_the_first_free_slot_is_taken(bus, taken, target):
    assert free_target(bus, taken) == target


def test_attaching_locks_vm_and_disk_and_takes_the_next_slot(admin, vm):
    disk = spare(vm)
    attachment, job = services.attach(admin, vm, disk)
    assert (attachment.target, attachment.bus, attachment.disk) == ("vdb", "virtio", disk)
    assert (job.kind, job.object_id, job.params["attachment"]) == ("vm.attach_disk", vm.pk, str(attachment.pk))
    assert set(Lock.objects.filter(job=job).values_list("object_id", flat=True)) == {vm.pk, disk.pk}


def test_a_disk_is_one_vms_alone_unless_it_is_shareable(admin, vm):
    disk = spare(vm, format="raw")
    attach(make_vm(name="other", cluster=vm.cluster), disk)
    with pytest.raises(NotPossible, match="attached to other"):
        services.attach(admin, vm, disk)
    Disk.objects.filter(pk=disk.pk).update(shareable=True)
    services.attach(admin, vm, disk)
    assert disk.attachments.count() == 2


def test_a_shareable_disk_is_not_attached_twice_to_one_vm(admin, vm):
    disk = spare(vm, format="raw", shareable=True)
    attach(vm, disk, "vdb")
    with pytest.raises(NotPossible, match="already"):
        services.attach(admin, vm, disk)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": DiskStatus.ILLEGAL}, "illegal"),
        ({"status": DiskStatus.LOCKED}, "locked"),
        ({"content": DiskContent.ISO}, "CD drive"),
        ({"domain": None}, "another data center"),
    ],
)
def test_a_disk_that_is_not_ready_is_refused_and_nothing_is_left(admin, vm, fields, words):
    with pytest.raises(NotPossible, match=words):
        services.attach(admin, vm, spare(vm, **fields))
    assert vm.attachments.count() == 1
    assert not Job.objects.exists()


def test_a_disk_on_another_host_is_refused(admin, vm):
    local = make_storage(name="local", data_center=vm.cluster.data_center, kind="local_dir")
    disk = make_disk(name="far", domain=local, host=make_host(name="node2", cluster=vm.cluster))
    with pytest.raises(NotPossible, match="node2 alone"):
        services.attach(admin, vm, disk)


def test_a_disk_that_thin_copies_build_on_is_refused(admin, vm):
    base = spare(vm)
    make_disk(name="copy", domain=base.domain, backing=base)
    with pytest.raises(NotPossible, match="Thin copies"):
        services.attach(admin, vm, base)


def test_who_may_edit_the_vm_still_needs_the_disk(vm):
    user = make_user("eve", role="UserVmManager", on=vm)
    disk = spare(vm)
    with pytest.raises(PermissionDenied):
        services.attach(user, vm, disk)
    grant("UserVmManager", disk, user=user)
    services.attach(user, vm, disk)


@pytest.mark.parametrize("status", [VmStatus.IMAGE_LOCKED, VmStatus.SUSPENDED, VmStatus.UNKNOWN, VmStatus.MIGRATING_FROM])
def test_a_vm_in_between_takes_no_disk(admin, vm, status):
    vm.status = status
    with pytest.raises(NotPossible):
        services.attach(admin, vm, spare(vm))


def test_sata_waits_until_the_vm_is_down(admin, vm):
    vm.status = VmStatus.UP
    with pytest.raises(NotPossible, match="SATA"):
        services.attach(admin, vm, spare(vm), bus="sata")


def test_a_bus_without_a_free_slot_is_refused(admin, vm):
    run_out(vm, "sata", 6)
    with pytest.raises(NotPossible, match="no free place"):
        services.attach(admin, vm, spare(vm), bus="sata")


def test_a_busy_vm_is_named(admin, vm):
    services.attach(admin, vm, spare(vm))
    with pytest.raises(ObjectBusy):
        services.attach(admin, vm, spare(vm, name="more"))


def new(vm, **fields):
    return services.NewAttached(**{"domain": vm.attachments.get(target="vda").disk.domain, "capacity_bytes": 8 * MIB} | fields)


def test_a_new_disk_is_made_and_attached_by_one_job(admin, vm):
    attachment, job = services.attach_new(admin, vm, new(vm))
    assert (attachment.disk.name, attachment.disk.status, attachment.target) == ("web-01_disk2", DiskStatus.LOCKED, "vdb")
    assert [step.name for step in job.steps.all()] == ["volume", "plug"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"capacity_bytes": 1}, "capacity_bytes"), ({"format": "vmdk"}, "format"), ({"bus": "ide"}, "bus"), ({"shareable": True}, "format")],
)
def test_a_new_disk_that_cannot_be_is_refused_at_its_field(admin, vm, fields, field):
    with pytest.raises(FieldError) as refused:
        services.attach_new(admin, vm, new(vm, **fields))
    assert refused.value.field == field
    assert not Disk.objects.filter(name="web-01_disk2").exists()


def test_a_new_disk_needs_leave_to_create_in_the_domain(vm):
    user = make_user("eve", role="UserVmManager", on=vm)
    with pytest.raises(PermissionDenied):
        services.attach_new(user, vm, new(vm))


def test_detaching_keeps_the_disk(admin, vm):
    attachment = vm.attachments.get()
    job = services.detach(admin, attachment)
    assert (job.kind, job.object_id) == ("vm.detach_disk", vm.pk)
    assert DiskAttachment.objects.filter(pk=attachment.pk).exists()  # until the job has taken it out


def test_a_paused_guest_cannot_let_go(admin, vm):
    vm.status = VmStatus.PAUSED
    vm.save()
    with pytest.raises(NotPossible, match="Resume it"):
        services.detach(admin, vm.attachments.get())


def test_limits_are_changed_by_a_job_that_knows_the_old_ones(admin, vm):
    job = services.set_limits(admin, vm.attachments.get(), 100, 5 * MIB)
    assert (job.params["limits"], job.params["before"]) == ([100, 5 * MIB], [0, 0])


@pytest.mark.parametrize(("iops", "bytes_per_second", "field"), [(-1, 0, "io_iops"), (10**8, 0, "io_iops"), (0, 1 << 50, "io_bytes")])
def test_impossible_limits_are_refused(admin, vm, iops, bytes_per_second, field):
    with pytest.raises(FieldError) as refused:
        services.set_limits(admin, vm.attachments.get(), iops, bytes_per_second)
    assert refused.value.field == field


def test_only_a_raw_disk_of_vms_that_are_down_is_shared(admin, vm):
    with pytest.raises(FieldError, match="raw"):
        services.share(admin, vm.attachments.get().disk, True)
    disk = spare(vm, format="raw")
    assert services.share(admin, disk, True).shareable
    attach(vm, disk, "vdb")
    vm.status = VmStatus.UP
    vm.save()
    with pytest.raises(NotPossible, match="not down"):
        services.share(admin, disk, False)
