"""CPUs that are plugged into a VM that runs. What cannot be plugged in waits for its next run, as any change of hardware does."""

from dataclasses import replace

from django.db import transaction
from django.db.models import F

from audit import log as audit
from events.log import record
from hosts.scheduling import filters
from hypervisor import domains, guest_agent
from hypervisor.errors import HypervisorError
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from portal.live import publish
from vms import observe
from vms.models import VM, VmOrigin, VmStatus
from vms.placement.snapshot import guest_of, world_of
from vms.spec import most_vcpus
from vms.steps import define, is_alive, link_to, vm_of


def can_plug(vm: VM) -> bool:
    """Whether the CPUs that wait for its next run can come at once. Fewer cannot: those that it started with stay until it stops."""
    wanted = vm.next_run.get("vcpus")
    return wanted is not None and vm.status == VmStatus.UP and vm.origin != VmOrigin.ADOPTED and vm.vcpus < wanted <= most_vcpus(vm.vcpus)


def plug(ctx: Context) -> None:
    vm, wanted = vm_of(ctx), ctx.params["vcpus"]
    if vm.next_run.get("vcpus") != wanted:
        raise StepFailed(f"{vm.name} is not to have {wanted} CPUs any more.")
    if not is_alive(vm):
        raise StepFailed(f"{vm.name} does not run any more: it starts with {wanted} CPUs next time.")
    if reason := _no_room(vm, wanted):
        raise StepFailed(f"{vm.host} cannot give {vm.name} more CPUs: {reason}.")
    domains.set_vcpus(link_to(vm), str(vm.pk), wanted)


def _no_room(vm: VM, wanted: int) -> str:
    world, guest = world_of(vm.cluster), guest_of(vm)
    more = filters.vcpus(world, replace(guest, vcpus=max(0, wanted - vm.vcpus)))
    return next((more(host) for host in world.hosts if host.id == str(vm.host_id)), "")


def note(ctx: Context) -> None:
    """The row and the definition say what runs."""
    wanted = ctx.params["vcpus"]
    with transaction.atomic():
        vm = VM.objects.select_for_update(of=("self",)).get(pk=ctx.job.object_id)
        change = audit.Change({"vcpus": vm.vcpus}, {"vcpus": wanted})
        waiting = {key: value for key, value in vm.next_run.items() if (key, value) != ("vcpus", wanted)}
        VM.objects.filter(pk=vm.pk).update(vcpus=wanted, next_run=waiting, rev=F("rev") + 1)
        record("vm.cpus_plugged", f"{vm.name} has {wanted} CPUs now", obj=vm, user=ctx.job.user, job=ctx.job, change=change)
        publish("vm", vm.pk, "changed", vm.rev + 1, {"status": vm.status, "next_run": bool(waiting)})
    vm = vm_of(ctx)
    define(vm)
    observe.drifted(vm, ())


def bring_online(ctx: Context) -> None:
    """Some guests take a new CPU by themselves, others when they are told to."""
    vm = vm_of(ctx)
    try:
        guest_agent.use_vcpus(link_to(vm), str(vm.pk), ctx.params["vcpus"])
    except HypervisorError:
        ctx.log("No guest agent answered: a guest that does not take new CPUs by itself must be told to.")


register(
    "vm.plug_cpus",
    [
        StepDef("plug", "Plug the CPUs in", plug, weight=3),
        StepDef("note", "Write it into the definition", note),
        StepDef("guest", "Tell the guest", bring_online),
    ],
    cancellable=False,
)
