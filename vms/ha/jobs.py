"""The job that runs a VM again."""

from contextlib import suppress

from hosts.connect import link_of
from hosts.models import HostStatus
from hypervisor import domains
from hypervisor.errors import HypervisorError, InvalidState, NotFound
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from vms import jobs_run
from vms.ha import lease, restarts
from vms.models import VM, VmStatus
from vms.placement import services as placement
from vms.steps import define, find_vm, is_alive, link_to, look

# QEMU's words for a disk that another QEMU has open.
LOCKED = "lock"


def start_again(ctx: Context) -> None:
    vm = find_vm(ctx)
    if vm is None or not vm.highly_available:
        raise StepFailed(f"{ctx.job.object_name} is not to run again any more.")
    if ctx.params.get("by_lease") and vm.status == VmStatus.UNKNOWN:
        _start_where_its_disks_are_free(ctx, vm)
    else:
        jobs_run.start(ctx)


def _start_where_its_disks_are_free(ctx: Context, vm: VM) -> None:
    """Its host is silent. The locks on its disks decide: while it runs there, QEMU opens them nowhere else.

    The row stays with the silent host until the VM runs elsewhere: a refusal changes nothing.
    """
    home = vm.host
    if home is not None and home.status == HostStatus.UP:
        raise StepFailed(f"{home.name} answers again.")
    if reason := lease.why_not(vm):  # a disk was attached since this was allowed
        raise StepFailed(f"The locks of its disks cannot tell whether it runs: {reason}")
    target = placement.choose(vm, ctx.job, away=True)
    vm.host = target  # in memory alone
    try:
        define(vm)
        domains.create(link_of(target), str(vm.pk), False)
    except InvalidState:
        if not is_alive(vm):
            raise
        ctx.log(f"It runs on {target} already.")  # from an earlier try
    except HypervisorError as error:
        with suppress(NotFound, InvalidState):
            domains.undefine(link_to(vm), str(vm.pk))
        if LOCKED in str(error).lower():
            raise StepFailed(f"Its disks are in use: {vm.name} still runs on {home}. Nothing was started.", str(error)) from None
        raise
    look(vm, started=True)


register(restarts.KIND, [StepDef("start", "Start it", start_again)], on_end=restarts.ended, cancellable=False)
