"""Snapshots on a real host: a guest that writes, goes back and forth, and reads what it should."""

import base64
import json
from contextlib import contextmanager

import libvirt
import libvirt_qemu
import pytest

from hosts.connect import link_of
from hypervisor import domains, snapshots, workbench
from hypervisor.domain_state import DomainState
from jobs.models import JobStatus, Lock
from portal.errors import NotPossible
from storage.models import Disk
from tests.lab.test_every_step import breaking, changed, names_of, twice
from tests.lab.test_recovery import domains_of, volumes_of
from tests.lab.test_vm_jobs import act, create, guest_answers, state
from tests.waiting import until
from vms import services as vm_services
from vms.models import VM
from vms.snapshots import services
from vms.snapshots.models import Layer, Position, Snapshot

SECTOR = 131_000  # beyond what the tiny guest's file system holds


@contextmanager
def domain_of(registered, vm):
    node = next(node for node in registered.lab.nodes() if node.name == vm.host.name)
    connection = libvirt.open(node.uri)
    try:
        yield connection.lookupByUUIDString(str(vm.pk))
    finally:
        connection.close()


def run_in(registered, vm, command):
    """What the command prints in the guest, by its agent."""
    with domain_of(registered, vm) as domain:

        def ask(name, **arguments):
            return json.loads(libvirt_qemu.qemuAgentCommand(domain, json.dumps({"execute": name, "arguments": arguments}), 10, 0))["return"]

        pid = ask("guest-exec", path="/bin/sh", arg=["-c", command], **{"capture-output": True})["pid"]
        done = until(lambda: (found := ask("guest-exec-status", pid=pid))["exited"] and found, 20, f"{command} to end")
        return base64.b64decode(done.get("out-data", "")).decode().strip("\0\n ")


def write(registered, vm, text):
    run_in(registered, vm, f"echo {text} | dd of=/dev/vda bs=512 seek={SECTOR} conv=notrunc,sync; sync")


def read(registered, vm):
    return run_in(registered, vm, f"echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=512 skip={SECTOR} count=1 2>/dev/null | head -n 1")


def boot(registered, vm):
    if state(vm) != DomainState.RUNNING:
        assert act(registered, vm, "start").status == JobStatus.SUCCEEDED
    until(lambda: guest_answers(vm), 60, "the guest's agent to answer")


def done(registered, job):
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.title, job.error, job.error_detail, [line.text for line in job.log_lines.all()])
    assert not Lock.objects.exists()
    return job


def take(registered, vm, name, **options):
    snapshot, job = services.take(registered.admin, vm, name, **options)
    done(registered, job)
    snapshot.refresh_from_db()
    vm.refresh_from_db()
    return snapshot


def files_of(vm):
    """Names of the disk's files on the host, the active one first."""
    with_path = snapshots.chains(link_of(vm.host), str(vm.pk))["vda"]
    return [path.rsplit("/", 1)[-1] for path in with_path]


def test_what_was_written_after_a_snapshot_goes_and_comes_back(registered):
    vm = create(registered, start=True)
    boot(registered, vm)
    write(registered, vm, "old")
    first = take(registered, vm, "first", note="before the change", quiesce=True)
    write(registered, vm, "new")

    done(registered, services.preview(registered.admin, vm, first, poweroff=True))
    vm.refresh_from_db()
    boot(registered, vm)
    assert read(registered, vm) == "old"
    write(registered, vm, "tried")
    with pytest.raises(NotPossible, match="preview of first"):
        services.take(registered.admin, vm, "not now")
    done(registered, services.undo(registered.admin, vm, poweroff=True))
    vm.refresh_from_db()
    boot(registered, vm)
    assert read(registered, vm) == "new"

    done(registered, services.revert(registered.admin, vm, first, poweroff=True))
    vm.refresh_from_db()
    boot(registered, vm)
    assert read(registered, vm) == "old"
    assert Position.objects.get(vm=vm).preview is None

    write(registered, vm, "newest")
    done(registered, services.delete(registered.admin, vm, first))
    assert read(registered, vm) == "newest", "the merge keeps what the running guest wrote last"
    disk = Disk.objects.get(attachments__vm=vm)
    assert volumes_of(registered) == [disk.volume_name]
    assert not Layer.objects.exists() and not Snapshot.objects.exists()
    assert vm.drift == []


def test_memory_goes_on_where_it_was_saved(registered):
    vm = create(registered, start=True)
    boot(registered, vm)
    write(registered, vm, "old")
    run_in(registered, vm, "echo kept > /run/in-memory")
    snapshot = take(registered, vm, "running", memory=True)
    assert snapshot.memory_bytes > 0
    write(registered, vm, "new")
    run_in(registered, vm, "rm /run/in-memory")
    done(registered, services.revert(registered.admin, vm, snapshot, memory=True, poweroff=True))
    vm.refresh_from_db()
    assert state(vm) == DomainState.RUNNING
    until(lambda: guest_answers(vm), 20, "the guest to go on")
    assert run_in(registered, vm, "cat /run/in-memory") == "kept"
    assert read(registered, vm) == "old"
    act(registered, vm, "poweroff")
    done(registered, vm_services.remove(registered.admin, vm))
    assert volumes_of(registered) == [], "layers and saved memory go with the VM"
    assert not Layer.objects.exists()


def test_layers_of_a_vm_that_is_down_are_merged_on_a_workbench(registered):
    vm = create(registered)
    one, two, three = (take(registered, vm, name) for name in ("one", "two", "three"))
    assert len(volumes_of(registered)) == 4
    done(registered, services.delete(registered.admin, vm, two))
    assert len(volumes_of(registered)) == 3
    done(registered, services.revert(registered.admin, vm, one))
    assert Layer.objects.count() == 3, "three is a branch of its own now"
    done(registered, services.delete(registered.admin, vm, one))
    assert Layer.objects.count() == 3, "both branches build on the layer of one"
    done(registered, services.delete(registered.admin, vm, three))
    assert volumes_of(registered) == [Disk.objects.get(attachments__vm=vm).volume_name]
    assert [key for key, _host in domains_of(registered.lab)] == [str(vm.pk)]
    vm.refresh_from_db()
    boot(registered, vm)


def test_a_chain_that_somebody_changed_with_virsh_is_left_alone(registered):
    vm = create(registered, start=True)
    snapshot = take(registered, vm, "ours")
    with domain_of(registered, vm) as domain:
        domain.snapshotCreateXML(
            "<domainsnapshot/>", libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
        )
    before = volumes_of(registered), files_of(vm)
    for ask in (lambda: services.delete(registered.admin, vm, snapshot), lambda: services.take(registered.admin, vm, "second")[1]):
        job = registered.run(ask())
        assert job.status == JobStatus.FAILED
        assert "changed outside of Vireo" in job.error and before[1][0] in job.error and before[1][1] in job.error
    assert (volumes_of(registered), files_of(vm)) == before
    assert list(vm.snapshots.values_list("name", "status")) == [("ours", "ok")]


@pytest.mark.parametrize("running", [True, False])
def test_whichever_step_of_a_snapshot_fails_it_leaves_nothing(registered, running):
    vm = create(registered, start=running)
    before = volumes_of(registered), files_of(vm)
    for step in names_of("snapshot.take"):
        for after in (False, True):
            with changed("snapshot.take", lambda steps, step=step, after=after: breaking(step, after)(twice(steps))):
                job = registered.run(services.take(registered.admin, vm, "broken", memory=running)[1])
            assert (job.status, job.error) == (JobStatus.FAILED, f"{step} broke")
            assert not job.steps.filter(status="undo_failed").exists(), [line.text for line in job.log_lines.all()]
            assert (volumes_of(registered), files_of(vm)) == before
            assert not Snapshot.objects.exists() and not Layer.objects.exists() and not Lock.objects.exists()
    assert state(vm) == (DomainState.RUNNING if running else DomainState.SHUTOFF)


def test_whichever_step_of_a_preview_fails_the_vm_is_as_before(registered):
    vm = create(registered)
    snapshot = take(registered, vm, "one")
    before = volumes_of(registered), files_of(vm)
    for step in names_of("snapshot.preview"):
        for after in (False, True):
            with changed("snapshot.preview", lambda steps, step=step, after=after: breaking(step, after)(twice(steps))):
                job = registered.run(services.preview(registered.admin, vm, snapshot))
            assert (job.status, job.error) == (JobStatus.FAILED, f"{step} broke")
            assert not job.steps.filter(status="undo_failed").exists(), [line.text for line in job.log_lines.all()]
            assert (volumes_of(registered), files_of(vm)) == before
            assert Position.objects.get(vm=vm).preview is None


def test_every_step_done_twice_does_it_once(registered):
    vm = create(registered)
    with changed("snapshot.take", twice):
        snapshot = take(registered, vm, "one")
    for kind in ("preview", "undo", "preview", "commit", "revert", "delete"):
        verb = getattr(services, kind)
        with changed(f"snapshot.{kind}", twice):
            done(registered, verb(registered.admin, vm) if kind in ("undo", "commit") else verb(registered.admin, vm, snapshot))
        vm = VM.objects.select_related("host", "cluster").get(pk=vm.pk)
    assert volumes_of(registered) == [Disk.objects.get(attachments__vm=vm).volume_name]
    assert not Layer.objects.exists()


def test_nobody_adopts_a_workbench(registered):
    from vms import observe

    vm = create(registered)
    link = link_of(vm.host)
    take(registered, vm, "one")
    path = Disk.objects.get(attachments__vm=vm).path
    with workbench.workbench(link, str(vm.pk), path):
        records = domains.list_domains(link)
        assert len(records) == 2
        observe.sync_host(vm.host, records)
        assert VM.objects.count() == 1
    assert len(domains.list_domains(link)) == 1
