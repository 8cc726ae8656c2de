"""CPUs plugged into a real guest: the guest itself counts them."""

import pytest

from hosts.connect import link_of
from hypervisor.errors import HypervisorError
from hypervisor.guests import agent_info
from hypervisor.serial import SerialSession
from jobs.models import JobStatus
from tests.waiting import until
from vms import services
from vms.models import VM, VmStatus
from vms.services import NewVm


def _answers(vm: VM) -> bool:
    try:
        return agent_info(link_of(vm.host), str(vm.pk)).hostname == "tiny"
    except HypervisorError:
        return False


@pytest.fixture
def vm(registered) -> VM:
    new = NewVm(name="grows", cluster=registered.cluster, template=registered.template, memory_mib=128, start=True)
    made, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    VM.objects.filter(pk=made.pk).update(status=VmStatus.UP)  # as the watcher says once it has looked
    made = VM.objects.select_related("host", "cluster").get(pk=made.pk)
    until(lambda: _answers(made), 60, "the guest to be up", every=0.3)
    return made


def test_the_guest_has_the_cpus_that_were_plugged_in(registered, vm):
    out = bytearray()
    serial = SerialSession(link_of(vm.host), str(vm.pk), out.extend)

    def prompts() -> bool:
        serial.write(b"\r")
        return b"# " in out

    def listed(what: str) -> bytes:
        out.clear()
        serial.write(f"cat /sys/devices/system/cpu/{what} | sed 's/^/=/;s/$/=/'\r".encode())
        until(lambda: out.count(b"=") >= 4, 20, "the guest's answer")
        return bytes(out).rsplit(b"=", 2)[-2]

    until(prompts, 30, "the shell", every=0.5)
    assert listed("online") == b"0"
    _vm, job = services.edit(registered.admin, vm, {"vcpus": 3})
    assert registered.run(job).status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    until(lambda: listed("online") == b"0-2", 20, "the guest to use them")
    serial.close()
