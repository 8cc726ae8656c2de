"""Bad days of snapshots on real hosts: workers that die in the middle, and a storage that is full. No byte is lost."""

import libvirt_qemu
import pytest

from hosts.connect import link_of
from hypervisor import domains, snapshots
from hypervisor import storage as pools
from hypervisor.spec import VolumeSpec
from jobs.models import Job, JobStatus, Lock
from lab import namespaces
from lab.node import LOCAL_POINT
from storage.models import Disk
from tests.lab.test_recovery import SOON, ended, held_at, volumes_of
from tests.lab.test_snapshots import domain_of, done, take
from tests.lab.test_vm_jobs import act, create
from tests.processes import worker
from vms.models import VM, Layer, Snapshot, VmStatus
from vms.snapshots import services

AT = 4 << 20  # past what the tiny guest itself writes


def disk_of(vm):
    return Disk.objects.select_related("domain").get(attachments__vm=vm)


def write(registered, vm, number):
    """Blocks full of this byte, written by the VM's own QEMU."""
    command = f'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P {number} {AT} 64k"'
    with domain_of(registered, vm) as domain:
        answer = libvirt_qemu.qemuMonitorCommand(domain, command, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
    assert not answer.strip(), answer


def content(registered, path):
    """The byte that the file has there, with all that it builds on."""
    link, pool = link_of(registered.hosts[0]), registered.shared.pool_name
    pools.refresh_pool(link, pool)
    pools.copy_volume(link, pool, path, VolumeSpec("flat.raw", 8 << 20, "raw"))
    try:
        with (registered.lab.shared / "flat.raw").open("rb") as raw:
            raw.seek(AT)
            found = set(raw.read(65536))
    finally:
        pools.delete_volume(link, pool, "flat.raw")
    assert len(found) == 1
    return found.pop()


def assert_whole(registered, vms):
    """Each VM writes where its row says, every file is known, and nothing is locked or half done."""
    known = set(Layer.objects.values_list("volume", flat=True)) | {disk_of(vm).volume_name for vm in vms}
    assert set(volumes_of(registered)) == known
    for vm in vms:
        assert snapshots.chains(link_of(vm.host), str(vm.pk))["vda"][0] == disk_of(vm).path
    assert not Lock.objects.exists()
    assert not Snapshot.objects.exclude(status="ok").exists()
    found = {record.uuid for host in registered.hosts for record in domains.list_domains(link_of(host))}
    assert found == {str(vm.pk) for vm in vms}, "no workbench is left"


def machines(registered, count, running):
    made = []
    for number in range(count):
        vm = create(registered, f"vm-{number}")
        act(registered, vm, "start_paused")
        write(registered, vm, 1)
        made.append(vm)
    return made if running else off(registered, made)


def off(registered, vms):
    for vm in vms:
        act(registered, vm, "poweroff")
    return [VM.objects.select_related("host", "cluster").get(pk=vm.pk) for vm in vms]


def killed_at(effects, directory, jobs):
    """Each job is in another of these moments when its worker dies; a second one takes over."""
    points = [f"{effect}:{phase}" for effect in effects for phase in ("before", "after")]
    with held_at(points, directory) as held, worker(**SOON):
        held.kill()
        for job in jobs:
            row = ended(job.pk, 60)
            assert row.status == JobStatus.SUCCEEDED, (row.error, row.error_detail)
    assert {job.attempts for job in Job.objects.filter(pk__in=[job.pk for job in jobs])} == {2}


@pytest.mark.parametrize("running", [True, False])
def test_takes_whose_worker_is_killed_are_finished_by_another(registered, tmp_path, running):
    vms = machines(registered, 6, running)
    jobs = [services.take(registered.admin, vm, "one")[1] for vm in vms]
    switch = "hypervisor.snapshots.take" if running else "hypervisor.domains.define"
    killed_at(["hypervisor.storage.create_volume", switch, "vms.snapshots.rows.took"], tmp_path, jobs)
    for vm in vms:
        vm.refresh_from_db()
        if running:
            write(registered, vm, 2)
    assert_whole(registered, vms)
    off(registered, vms if running else [])
    for vm in vms:
        assert content(registered, Layer.objects.get(marks__snapshot__vm=vm).path) == 1
        assert content(registered, disk_of(vm).path) == (2 if running else 1)


@pytest.mark.parametrize("running", [True, False])
def test_deletes_whose_worker_is_killed_are_finished_by_another(registered, tmp_path, running):
    vms = machines(registered, 6, True)
    for vm in vms:
        take(registered, vm, "one")
        write(registered, vm, 2)
    vms = vms if running else off(registered, vms)
    jobs = [services.delete(registered.admin, vm, vm.snapshots.get()) for vm in vms]
    killed_at(["hypervisor.snapshots.merge", "vms.snapshots.rows.merged", "hypervisor.storage.delete_volume"], tmp_path, jobs)
    for vm in vms:
        vm.refresh_from_db()
    assert_whole(registered, vms)
    off(registered, vms if running else [])
    assert [content(registered, disk_of(vm).path) for vm in vms] == [2] * 6
    assert not Snapshot.objects.exists() and not Layer.objects.exists()


def test_reverts_whose_worker_is_killed_are_finished_by_another(registered, tmp_path):
    vms = machines(registered, 4, True)
    for vm in vms:
        take(registered, vm, "one")
        write(registered, vm, 2)
    vms = off(registered, vms)
    jobs = [services.revert(registered.admin, vm, vm.snapshots.get()) for vm in vms]
    killed_at(["hypervisor.storage.create_volume", "vms.snapshots.rows.previewing"], tmp_path, jobs)
    for vm in vms:
        vm.refresh_from_db()
    assert_whole(registered, vms)
    assert [content(registered, disk_of(vm).path) for vm in vms] == [1] * 4


@pytest.fixture
def fill(registered):
    """The first host's local directory becomes a small file system; call to fill it."""
    node = registered.lab.node(registered.hosts[0].name)
    enter = ("nsenter", "--target", str(node.libvirtd_pid()), "--mount", "--")
    namespaces.run(*enter, "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", LOCAL_POINT)
    try:
        yield lambda: namespaces.run(*enter, "dd", "if=/dev/zero", f"of={LOCAL_POINT}/filler", "bs=4k", check=False)
    finally:
        namespaces.end(namespaces.find(node.wiring.netns, "qemu-system-x86"))
        namespaces.run(*enter, "umount", "--lazy", LOCAL_POINT)


def test_a_full_storage_leaves_the_vm_on_its_old_layer(registered, fill):
    vm = create(registered, storage_domain=registered.local, host=registered.hosts[0])
    act(registered, vm, "start_paused")
    disk = disk_of(vm)
    fill()
    job = registered.run(services.take(registered.admin, vm, "no room")[1])
    assert job.status == JobStatus.FAILED and "No space left" in job.error
    assert not Snapshot.objects.exists() and not Layer.objects.exists()
    assert snapshots.chains(link_of(vm.host), str(vm.pk))["vda"][0] == disk_of(vm).path == disk.path
    assert pools.volume_names(link_of(vm.host), registered.local.pool_name) == {disk.volume_name, "filler"}


def test_a_vm_with_snapshots_moves_live_and_keeps_them(registered):
    vm = create(registered, "web-01", start=True)
    write(registered, vm, 1)
    snapshot = take(registered, vm, "one")
    write(registered, vm, 2)
    from vms.migration.services import migrate

    vm = VM.objects.select_related("host", "cluster").get(pk=vm.pk)
    source = vm.host
    done(registered, migrate(registered.admin, vm))
    vm = VM.objects.select_related("host", "cluster").get(pk=vm.pk)
    assert vm.host != source and vm.status in (VmStatus.UP, VmStatus.POWERING_UP)
    assert_whole(registered, [vm])
    done(registered, services.revert(registered.admin, vm, snapshot, poweroff=True))
    assert content(registered, disk_of(vm).path) == 1
