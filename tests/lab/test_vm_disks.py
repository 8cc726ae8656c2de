"""Disks of a VM on real hosts: plugged in and out of a running guest, limited, grown."""

from hosts.connect import link_of
from hypervisor import disks as live
from hypervisor import domains
from hypervisor.domain_xml import from_xml
from jobs.models import JobStatus
from storage.models import Disk, DiskStatus
from tests.lab.test_recovery import volumes_of
from tests.lab.test_vm_jobs import act, create, guest_answers
from tests.waiting import until
from vms import services as vm_services
from vms.disks import jobs, services
from vms.models import VM
from vms.services import NewVm

MIB = 1 << 20


def defined(vm):
    """The slots of the definition, and what lies behind each."""
    spec = from_xml(domains.get(link_of(vm.host), str(vm.pk)).xml)
    return {disk.target: disk.source for disk in spec.disks}


def running(vm, target):
    return live.source_of(link_of(vm.host), str(vm.pk), target)


def attach_new(registered, vm, **fields):
    new = services.NewAttached(**{"domain": registered.shared, "capacity_bytes": 8 * MIB} | fields)
    attachment, job = services.attach_new(registered.admin, vm, new)
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    attachment.refresh_from_db()
    return attachment


def fresh(vm):
    return VM.objects.select_related("host", "cluster").get(pk=vm.pk)


def test_disks_come_and_go_while_the_guest_runs(registered):
    vm = create(registered, start=True)
    until(lambda: guest_answers(vm), 60, "the guest's agent to answer")
    vm = fresh(vm)
    for bus, target in (("virtio", "vdb"), ("scsi", "sda")):
        attachment = attach_new(registered, vm, bus=bus)
        path = Disk.objects.get(pk=attachment.disk_id).path
        assert (attachment.target, running(vm, target), defined(vm)[target]) == (target, path, path)

        job = registered.run(services.set_limits(registered.admin, attachment, 50, MIB))
        assert job.status == JobStatus.SUCCEEDED, job.error
        assert live.limits_of(link_of(vm.host), str(vm.pk), target) == (50, MIB)

        job = registered.run(services.detach(registered.admin, attachment))
        assert job.status == JobStatus.SUCCEEDED, job.error
        assert running(vm, target) is None
        assert target not in defined(vm)
        assert not vm.attachments.filter(target=target).exists()
        assert Disk.objects.get(path=path).status == DiskStatus.OK  # it stays, and can be attached again
    disk = Disk.objects.get(path=path)
    _attachment, job = services.attach(registered.admin, vm, disk)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    assert running(vm, "vdb") == path
    vm.refresh_from_db()
    assert vm.drift == []


def test_a_guest_that_keeps_its_disk_is_named_and_nothing_changes(registered, monkeypatch):
    monkeypatch.setattr(jobs, "UNPLUG_SECONDS", 6.0)
    new = NewVm(name="blank", cluster=registered.cluster, memory_mib=64, disk_bytes=8 * MIB, start=True)  # no system: nobody lets go
    vm, job = vm_services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    vm = fresh(vm)
    attachment = attach_new(registered, vm)
    job = registered.run(services.detach(registered.admin, attachment))
    assert job.status == JobStatus.FAILED
    assert "did not let go of vdb" in job.error
    assert running(vm, "vdb") == defined(vm)["vdb"] == Disk.objects.get(pk=attachment.disk_id).path
    assert vm.attachments.filter(target="vdb").exists()

    act(registered, vm, "poweroff")
    job = registered.run(
        services.detach(registered.admin, services.DiskAttachment.objects.select_related("vm", "disk").get(pk=attachment.pk))
    )
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert "vdb" not in defined(vm)


def test_a_vm_that_is_down_gets_its_disks_in_the_definition(registered):
    vm = create(registered)
    for bus in ("virtio", "scsi", "sata"):
        attachment = attach_new(registered, vm, bus=bus, format="raw", shareable=True)
        assert defined(fresh(vm))[attachment.target] == Disk.objects.get(pk=attachment.disk_id).path
    assert act(registered, vm, "start").status == JobStatus.SUCCEEDED


def test_two_running_vms_share_a_shareable_disk(registered):
    first, second = create(registered, start=True), create(registered, name="web-02", start=True)
    attachment = attach_new(registered, fresh(first), format="raw", shareable=True)
    _again, job = services.attach(registered.admin, fresh(second), attachment.disk)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    assert running(fresh(second), "vdb") == running(fresh(first), "vdb")


def test_what_the_host_refuses_leaves_neither_disk_nor_slot(registered):
    vm = fresh(create(registered, start=True))
    before = volumes_of(registered)
    attachment, job = services.attach_new(registered.admin, vm, services.NewAttached(domain=registered.shared, capacity_bytes=8 * MIB))
    services.DiskAttachment.objects.filter(pk=attachment.pk).update(bus="sata", target="sdf")  # which takes no disk while it runs
    job = registered.run(job)
    assert job.status == JobStatus.FAILED
    assert (volumes_of(registered), vm.attachments.count()) == (before, 1)
    assert not Disk.objects.filter(pk=attachment.disk_id).exists()
