"""The life of a VM on real hosts, through services and jobs."""

import libvirt
import pytest

from hosts.connect import link_of
from hypervisor import domains
from hypervisor.domain_state import DomainState
from hypervisor.errors import NotFound
from jobs.models import JobStatus, Lock
from portal.errors import FieldError, NotPossible
from storage.models import Disk
from tests.waiting import until
from vms import services
from vms.models import VM, VmStatus
from vms.services import NewVm


def create(registered, name="web-01", **fields):
    new = NewVm(name=name, cluster=registered.cluster, template=registered.template, memory_mib=128, **fields)
    vm, job = services.create(registered.admin, new)
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    return VM.objects.select_related("host", "cluster").get(pk=vm.pk)


def act(registered, vm, action, **options):
    job = registered.run(services.act(registered.admin, vm, action, **options))
    vm.refresh_from_db()
    return job


def state(vm):
    return domains.state(link_of(vm.host), str(vm.pk))[0]


def guest_answers(vm):
    from hypervisor.errors import HypervisorError
    from hypervisor.guests import agent_info

    try:
        return agent_info(link_of(vm.host), str(vm.pk)).hostname == "tiny"
    except HypervisorError:
        return False


def test_a_vm_lives_from_template_to_removal(registered):
    vm = create(registered, start=True)
    assert vm.status == VmStatus.POWERING_UP
    assert state(vm) == DomainState.RUNNING
    until(lambda: guest_answers(vm), 60, "the guest's agent to answer")

    assert act(registered, vm, "pause").status == JobStatus.SUCCEEDED
    assert (vm.status, vm.status_reason) == (VmStatus.PAUSED, "paused by a user")
    act(registered, vm, "resume")
    assert state(vm) == DomainState.RUNNING

    job = act(registered, vm, "shutdown")
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert vm.status == VmStatus.DOWN

    act(registered, vm, "start")
    act(registered, vm, "reset")
    act(registered, vm, "poweroff")
    assert (vm.status, state(vm)) == (VmStatus.DOWN, DomainState.SHUTOFF)

    disk = Disk.objects.get(attachments__vm=vm)
    file = registered.lab.shared / disk.volume_name
    assert file.exists()
    job = registered.run(services.remove(registered.admin, vm))
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert not VM.objects.filter(pk=vm.pk).exists()
    assert not Disk.objects.filter(pk=disk.pk).exists()
    assert not file.exists()
    assert not Lock.objects.exists()
    with pytest.raises(NotFound):
        state(vm)


def test_started_paused_it_waits_and_an_impossible_action_is_refused_with_the_reason(registered):
    vm = create(registered)
    act(registered, vm, "start_paused")
    assert state(vm) == DomainState.PAUSED
    with pytest.raises(NotPossible, match="is paused"):
        services.act(registered.admin, vm, "start")
    with pytest.raises(NotPossible, match="Power web-01 off first|is paused"):
        services.remove(registered.admin, vm)


def test_memory_of_a_running_vm_waits_for_its_next_run(registered):
    vm = create(registered, start=True)
    vm, job = services.edit(registered.admin, vm, {"memory_mib": 160, "description": "bigger"})
    assert (vm.next_run, vm.memory_mib) == ({"memory_mib": 160}, 128)
    assert registered.run(job).status == JobStatus.SUCCEEDED, "the description stands in the definition at once"
    act(registered, vm, "poweroff")
    act(registered, vm, "start")
    assert (vm.memory_mib, vm.next_run) == (160, {})
    xml = domains.get(link_of(vm.host), str(vm.pk)).xml
    assert "<memory unit='KiB'>163840</memory>" in xml


def test_more_cpus_come_while_it_runs_and_fewer_at_its_next_run(registered):
    vm = create(registered, start=True)
    VM.objects.filter(pk=vm.pk).update(status=VmStatus.UP)  # as the watcher says once it has looked
    vm, job = services.edit(registered.admin, VM.objects.get(pk=vm.pk), {"vcpus": 3})
    assert job.kind == "vm.plug_cpus" and registered.run(job).status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    vm.refresh_from_db()
    assert (vm.vcpus, vm.next_run, vm.drift) == (3, {}, [])
    running = link_of(vm.host).call(lambda connection: connection.lookupByUUIDString(str(vm.pk)).vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE))
    assert running == 3 and "current='3'" in domains.get(link_of(vm.host), str(vm.pk)).xml
    vm, job = services.edit(registered.admin, vm, {"vcpus": 2})
    assert (job, vm.vcpus, vm.next_run) == (None, 3, {"vcpus": 2}), "a CPU that the guest uses is not pulled out from under it"
    vm, job = services.edit(registered.admin, vm, {"vcpus": 9})
    assert job is None and vm.next_run == {"vcpus": 9}, "more than its domain has room for"
    act(registered, vm, "poweroff")
    act(registered, vm, "start")
    assert (vm.vcpus, vm.next_run) == (9, {})


def test_a_removed_vm_may_keep_its_disk(registered):
    vm = create(registered)
    disk = Disk.objects.get(attachments__vm=vm)
    registered.run(services.remove(registered.admin, vm, keep_disks=True))
    disk.refresh_from_db()
    assert (registered.lab.shared / disk.volume_name).exists()


def test_a_template_made_of_a_vm_makes_vms(registered):
    from vms.models import Template

    vm = create(registered)
    job = registered.run(services.make_template(registered.admin, vm, "golden"))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    registered.__dict__["template"] = Template.objects.get(name="golden")
    copy = create(registered, "copy")
    act(registered, copy, "start")
    assert state(copy) == DomainState.RUNNING


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"memory_mib": 0}, "memory_mib"), ({"vcpus": 0}, "vcpus"), ({"name": "  "}, "name"), ({"tags": ["x" * 65]}, "tags")],
)
def test_bad_values_are_refused_at_their_field(registered, changes, field):
    with pytest.raises(FieldError) as refused:
        services.create(
            registered.admin, NewVm(**{"name": "bad", "cluster": registered.cluster, "template": registered.template} | changes)
        )
    assert refused.value.field == field
    assert not VM.objects.exists()


def test_a_name_that_exists_is_refused(registered):
    create(registered)
    with pytest.raises(FieldError, match="already"):
        services.create(registered.admin, NewVm(name="WEB-01", cluster=registered.cluster, template=registered.template))
