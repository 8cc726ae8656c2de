"""A guest whose storage is full stands still, says why, and goes on when space came: nothing of what it wrote is lost."""

import pytest

from hosts.connect import link_of
from hypervisor import domains
from hypervisor.domain_state import DomainState
from jobs.models import JobStatus
from lab import namespaces
from lab.node import LOCAL_POINT
from storage import on_host
from storage.looks import pace
from tests.lab.test_snapshots import boot, run_in
from tests.lab.test_vm_jobs import act, create, state
from tests.waiting import until
from vms import observe, space
from vms.models import VM, VmStatus


@pytest.fixture
def small(registered):
    """The first host's local directory has 48 MiB; returns how to run something in it."""
    node = registered.lab.node(registered.hosts[0].name)
    enter = ("nsenter", "--target", str(node.libvirtd_pid()), "--mount", "--")
    namespaces.run(*enter, "mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", LOCAL_POINT)
    try:
        yield lambda *command: namespaces.run(*enter, *command, check=False)
    finally:
        namespaces.end(namespaces.find(node.wiring.netns, "qemu-system-x86"))
        namespaces.run(*enter, "umount", "--lazy", LOCAL_POINT)


def look(registered, vm):
    """What the watcher does at each of its looks at the storage."""
    pace.forget()
    found = on_host.read(vm.host, [registered.local])
    on_host.note(vm.host, found)
    return space.go_on(vm.host, found)


def test_a_vm_waits_for_space_and_goes_on(registered, small):
    vm = create(registered, storage_domain=registered.local, host=registered.hosts[0])
    assert act(registered, vm, "start").status == JobStatus.SUCCEEDED
    small("dd", "if=/dev/zero", f"of={LOCAL_POINT}/filler", "bs=4k")
    boot(registered, vm)
    run_in(registered, vm, "(dd if=/dev/urandom of=/dev/vda bs=1M seek=16 count=24 conv=notrunc; sync) >/dev/null 2>&1 &")
    until(lambda: state(vm) == DomainState.PAUSED, 60, "the guest to stand still")
    observe.sync_host(vm.host, domains.list_domains(link_of(vm.host)))
    vm = VM.objects.select_related("host", "cluster").get(pk=vm.pk)
    assert (vm.status, vm.status_reason) == (VmStatus.PAUSED, "no space left on the storage domain")
    assert look(registered, vm) == [], "nothing came yet"
    small("rm", f"{LOCAL_POINT}/filler")
    [job] = look(registered, vm)
    assert registered.run(job).status == JobStatus.SUCCEEDED
    assert state(vm) == DomainState.RUNNING
