"""Emptying a host: each VM that runs there moves by a job of its own, as many at a time as the cluster allows."""

from dataclasses import dataclass, replace

from hosts.models import Host, HostStatus
from hosts.scheduling.choose import decide
from jobs.context import Context
from jobs.engine import stop, submit
from jobs.errors import Later, ObjectBusy, StepFailed
from jobs.models import Job, JobStatus
from vms.migration.services import why_not_live
from vms.models import VM, VmStatus
from vms.placement.snapshot import guest_of, world_of

RUNS = (VmStatus.UP, VmStatus.POWERING_UP)
# These need no host: nothing of them executes.
AT_REST = (VmStatus.DOWN, VmStatus.SUSPENDED, VmStatus.IMAGE_LOCKED)


@dataclass(frozen=True)
class Departure:
    """A VM that runs on the host, where it could go as things are now, and why nowhere ("": it can)."""

    vm: VM
    target: str
    reason: str


def departures(host: Host) -> list[Departure]:
    """What would have to leave the host. Places are judged one by one: together they may not fit."""
    vms = here(host)
    if not vms:
        return []
    world = world_of(host.cluster)
    world = replace(world, hosts=tuple(view for view in world.hosts if view.id != str(host.pk)))
    found = []
    for vm in vms:
        reason, target = _cannot_leave(host, vm), ""
        if not reason:
            decision = decide(world, guest_of(vm))
            target = decision.chosen.name if decision.chosen is not None else ""
            reason = "" if target else f"no other host can take it: {decision.why_none}"
        found.append(Departure(vm, target, reason))
    return found


def here(host: Host) -> list[VM]:
    """The VMs that run on the host, or may."""
    return list(host.vms.exclude(status__in=AT_REST).select_related("cluster", "host").order_by("name"))


def _cannot_leave(host: Host, vm: VM) -> str:
    if host.status not in (HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.PREPARING_FOR_MAINTENANCE):
        return f"{host.name} is {host.get_status_display().lower()}"
    if vm.status not in RUNS:
        return f"it is {vm.get_status_display().lower()}"
    return why_not_live(vm).rstrip(".")


def evacuate(ctx: Context) -> None:
    """Step of `host.maintenance`: asks for what has not been asked for yet, then waits until all of it has ended."""
    host = Host.objects.select_related("cluster").get(pk=ctx.job.object_id)
    children = _children(ctx.job)
    asked = {child.object_id for child in children}
    busy = [vm for vm in here(host) if vm.pk not in asked and not _ask(ctx, host, vm)]
    children = _children(ctx.job)
    ended = sum(child.status in JobStatus.finished() for child in children)
    if busy or ended < len(children):
        ctx.progress(ended, len(children) + len(busy))
        names = ", ".join(vm.name for vm in busy[:3])
        why = f"{ended} of {len(children)} VMs have left" + (f"; {names} busy with other jobs" if busy else "")
        raise Later(why, ready=lambda: _ended(ctx.job) > ended)
    if left := here(host):
        errors = {child.object_id: child.error for child in children}
        raise StepFailed(f"Not every VM could leave {host.name}. " + " ".join(_why_left(vm, errors.get(vm.pk, "")) for vm in left[:5]))


def _ask(ctx: Context, host: Host, vm: VM) -> bool:
    """False when another job works on it."""
    reason = _cannot_leave(host, vm)
    if reason and not ctx.params.get("shut_down"):
        raise StepFailed(f"{vm.name} cannot leave {host.name}: {reason}.")
    params = {"parent": str(ctx.job.pk)}
    try:
        if reason:
            submit("vm.shutdown", user=ctx.job.user, target=vm, title=f"Shut {vm.name} down: {host.name} rests", params=params)
        else:
            submit("vm.migrate", user=ctx.job.user, target=vm, title=f"Migrate {vm.name} away from {host.name}", params=params)
    except ObjectBusy:
        return False
    return True


def _why_left(vm: VM, error: str) -> str:
    return error or f"{vm.name} runs there again."


def _children(job: Job) -> list[Job]:
    mine = Job.objects.filter(kind__in=("vm.migrate", "vm.shutdown"), created_at__gte=job.created_at, params__parent=str(job.pk))
    return list(mine.order_by("created_at"))


def _ended(job: Job) -> int:
    return sum(child.status in JobStatus.finished() for child in _children(job))


def call_off(ctx: Context) -> None:
    """Undo of the step: what is on its way stays where it is, what has left stays away."""
    for child in _children(ctx.job):
        if child.status not in JobStatus.finished():
            stop(child)
