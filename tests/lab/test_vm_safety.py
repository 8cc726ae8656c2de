"""What virsh does beside us, and guests that do not obey, on real hosts: nothing is lost, and each has its sentence."""

import libvirt
import pytest

from hosts.connect import link_of
from hypervisor import domains
from hypervisor.domain_state import DomainState
from jobs.models import JobStatus, Lock
from lab.node import LOCAL_POINT
from portal.errors import NotPossible
from storage.models import Disk, DiskContent
from tests.build import make_disk
from tests.lab.test_vm_jobs import act, create, state
from vms import jobs_run, observe, services
from vms.models import VM, Template, VmStatus
from vms.services import NewVm


@pytest.fixture
def virsh(registered):
    """A second hand on the hosts: domain_of(vm)."""
    opened = []

    def domain_of(vm):
        opened.append(libvirt.open(registered.lab.node(vm.host.name).uri))
        return opened[-1].lookupByUUIDString(str(vm.pk))

    yield domain_of
    for connection in opened:
        connection.close()


def sync(vm):
    observe.sync_host(vm.host, domains.list_domains(link_of(vm.host)))
    vm.refresh_from_db()


def blank(registered, **fields):
    """No system on its disk, so its guest hears no power button."""
    new = NewVm(name="deaf", cluster=registered.cluster, memory_mib=64, disk_bytes=4 << 20, start=True, **fields)
    vm, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    return VM.objects.select_related("host", "cluster").get(pk=vm.pk)


def test_a_vm_that_virsh_started_is_not_removed_under_its_guest(registered, virsh):
    vm = create(registered)
    virsh(vm).create()
    job = registered.run(services.remove(registered.admin, vm))
    assert job.status == JobStatus.FAILED
    assert "was started outside of Vireo" in job.error
    vm.refresh_from_db()
    assert vm.status in (VmStatus.UP, VmStatus.POWERING_UP)
    assert virsh(vm).isPersistent()
    assert (registered.lab.shared / Disk.objects.get(attachments__vm=vm).volume_name).exists()


def test_a_template_is_not_made_of_disks_that_a_guest_writes(registered, virsh):
    vm = create(registered)
    virsh(vm).create()
    job = registered.run(services.make_template(registered.admin, vm, "torn"))
    assert job.status == JobStatus.FAILED
    assert "would change while they are copied" in job.error
    assert not Template.objects.filter(name="torn").exists()


def test_a_template_stays_while_a_kept_disk_is_a_thin_copy_of_it(registered):
    vm = create(registered)
    registered.run(services.remove(registered.admin, vm, keep_disks=True))
    with pytest.raises(NotPossible, match="thin copies"):
        services.remove_template(registered.admin, registered.template)


def test_a_guest_that_hears_no_power_button_is_powered_off_only_when_asked(registered, monkeypatch):
    monkeypatch.setattr(jobs_run, "SHUTDOWN_SECONDS", 1)
    vm = blank(registered)
    job = act(registered, vm, "shutdown")
    assert job.status == JobStatus.FAILED
    assert "did not shut down within" in job.error
    assert (vm.status, state(vm)) == (VmStatus.UP, DomainState.RUNNING)
    assert act(registered, vm, "shutdown", force=True).status == JobStatus.SUCCEEDED
    assert (vm.status, state(vm)) == (VmStatus.DOWN, DomainState.SHUTOFF)


def test_run_once_leaves_the_definition_as_it_was(registered):
    vm = create(registered)
    before = domains.get(link_of(vm.host), str(vm.pk)).xml
    assert act(registered, vm, "run_once", paused=True).status == JobStatus.SUCCEEDED
    assert vm.status == VmStatus.PAUSED
    assert act(registered, vm, "poweroff").status == JobStatus.SUCCEEDED
    assert domains.get(link_of(vm.host), str(vm.pk)).xml == before


def test_a_vm_as_vireo_defined_it_shows_no_drift_and_a_change_by_virsh_does_until_it_is_reverted(registered, virsh):
    vm = create(registered)
    sync(vm)
    assert vm.drift == []
    domain = virsh(vm)
    domain.setMaxMemory(192 * 1024)
    domain.setMemoryFlags(192 * 1024, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    sync(vm)
    assert vm.drift == [{"field": "memory_mib", "wanted": "128", "found": "192"}]
    assert registered.run(services.revert_drift(registered.admin, vm)).status == JobStatus.SUCCEEDED
    sync(vm)
    assert vm.drift == []
    assert "<memory unit='KiB'>131072</memory>" in domains.get(link_of(vm.host), str(vm.pk)).xml


def test_a_blank_vm_with_a_cd_drive_shows_no_drift(registered):
    vm = blank(registered)
    sync(vm)
    assert vm.drift == []


def test_a_vm_whose_domain_is_gone_is_defined_again_by_running_it(registered, virsh):
    vm = create(registered)
    virsh(vm).undefine()
    sync(vm)
    assert "removed on" in vm.status_reason
    assert act(registered, vm, "start").status == JobStatus.SUCCEEDED
    assert (vm.status, vm.status_reason, state(vm)) == (VmStatus.POWERING_UP, "", DomainState.RUNNING)


@pytest.mark.parametrize("name", ["Büro/server «1» <&>", "ü" * 255])
def test_a_name_that_people_may_give_runs(registered, name):
    vm = create(registered, name, start=True)
    assert (vm.name, state(vm)) == (name, DomainState.RUNNING)
    sync(vm)
    assert vm.drift == []


def test_a_vm_on_local_storage_runs_where_its_copy_of_the_template_was_made(registered):
    vm = create(registered, storage_domain=registered.local, start=True)
    disk = Disk.objects.select_related("host", "backing").get(attachments__vm=vm)
    assert (disk.host, disk.backing) == (vm.host, None)
    assert (registered.lab.node(vm.host.name).root / "local" / disk.volume_name).exists()
    assert not (registered.lab.shared / disk.volume_name).exists()
    act(registered, vm, "poweroff")
    assert registered.run(services.remove(registered.admin, vm)).status == JobStatus.SUCCEEDED
    assert not (registered.lab.node(vm.host.name).root / "local" / disk.volume_name).exists()


def test_run_once_boots_an_iso_that_is_gone_again_at_the_next_start(registered):
    iso = make_disk(domain=registered.shared, content=DiskContent.ISO, name="rescue.iso", capacity_bytes=1 << 20)
    iso.path = f"{registered.shared.path}/{iso.volume_name}"
    iso.save()
    (registered.lab.shared / iso.volume_name).write_bytes(bytes(1 << 20))
    vm = create(registered, description="first line\n<second> & «third»")
    assert act(registered, vm, "run_once", iso=str(iso.pk)).status == JobStatus.SUCCEEDED
    link = link_of(vm.host)
    running = link.call(lambda connection: connection.lookupByUUIDString(str(vm.pk)).XMLDesc(0))
    assert iso.path in running
    assert iso.path not in domains.get(link, str(vm.pk)).xml
    sync(vm)
    assert vm.drift == []
    act(registered, vm, "poweroff")
    act(registered, vm, "start")
    assert iso.path not in link.call(lambda connection: connection.lookupByUUIDString(str(vm.pk)).XMLDesc(0))


@pytest.fixture
def full_local_storage(registered):
    """The local directories of both hosts, with 2 MiB each."""
    nodes = registered.lab.nodes()
    for node in nodes:
        node.run_inside("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", LOCAL_POINT)
    yield nodes
    for node in nodes:
        node.run_inside("umount", LOCAL_POINT)


def test_a_disk_for_which_there_is_no_space_fails_with_that_reason_and_leaves_nothing(registered, full_local_storage):
    new = NewVm(name="big", cluster=registered.cluster, template=registered.template, memory_mib=128, storage_domain=registered.local)
    vm, job = services.create(registered.admin, new)
    job = registered.run(job)
    assert job.status == JobStatus.FAILED
    assert "No space left on device" in job.error
    assert not VM.objects.filter(pk=vm.pk).exists()
    assert set(Disk.objects.all()) == set(registered.template.disks.all())
    for node in full_local_storage:
        node.run_inside("sh", "-c", f'test -z "$(ls -A {LOCAL_POINT})"')  # raises when a file is left
    assert not Lock.objects.exists()


def test_a_running_vm_that_is_renamed_shows_no_drift_and_keeps_its_domain(registered):
    vm = create(registered, start=True)
    vm, job = services.edit(registered.admin, vm, {"name": "shop-01", "tags": ["a"], "memory_mib": 160})
    assert registered.run(job).status == JobStatus.SUCCEEDED
    sync(vm)
    assert (vm.drift, vm.next_run, state(vm)) == ([], {"memory_mib": 160}, DomainState.RUNNING)
    xml = domains.get(link_of(vm.host), str(vm.pk)).xml
    assert "<title>shop-01</title>" in xml
    assert "<name>web-01</name>" in xml
