"""Jobs that change what a VM does: start, pause, power. One step each; the undo of a failed start is libvirt's own."""

import time
from collections.abc import Callable
from functools import partial

from hosts.models import HostStatus
from hypervisor import domains
from hypervisor.domain_state import DomainState
from hypervisor.errors import AlreadyExists, InvalidState, NotFound
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.runner import wake_parent
from storage.models import Disk
from vms import observe
from vms.guest import steps as seed
from vms.models import VM
from vms.placement import services as placement
from vms.spec import build_spec, with_iso
from vms.steps import OFF, define, is_alive, link_to, look, state_of, vm_of, xml_of

SHUTDOWN_SECONDS = 60
# How often the domain's state is asked while the guest shuts down: a call of a tenth of a millisecond on an open connection.
POLL_SECONDS = 0.2


def _prepare(ctx: Context, vm: VM) -> None:
    """A place, and a definition that says what is asked for."""
    _settle_on_host(ctx, vm)
    if vm.next_run:
        for field, value in vm.next_run.items():
            setattr(vm, field, value)
        vm.next_run, fields = {}, list(vm.next_run)
        define(vm)
        vm.save(update_fields=[*fields, "next_run"])
        ctx.log(f"{', '.join(fields)} took effect.")
    elif state_of(vm) is None:
        define(vm)
        ctx.log(f"Its domain was missing on {vm.host}; it was defined again.")
    seed.renew(ctx, vm)


def _settle_on_host(ctx: Context, vm: VM) -> None:
    """Where it is defined, if that can take it. Otherwise its definition moves: first the old host gives it up, so that it is never at two; one that is
    down, fenced or confirmed off, is tidied when it comes back."""
    home = vm.host
    if home is not None and home.status == HostStatus.DOWN:  # nothing runs there, and nobody answers
        observe.placed(vm, placement.choose(vm, ctx.job))
        ctx.log(f"{home} is down, so it moves to {vm.host}.")
        return
    if home is not None and is_alive(vm):
        return  # from an earlier try
    host = placement.choose(vm, ctx.job)
    if home is not None and host != home:
        ctx.log(f"It moves from {home} to {host}.")
        try:
            domains.undefine(link_to(vm), str(vm.pk))
        except NotFound:
            ctx.log(f"{home} had no definition of it.")
        if is_alive(vm):
            raise StepFailed(f"{vm.name} was started outside of Vireo and runs on {home}.")
    if host != home:
        observe.placed(vm, host)


def start(ctx: Context, paused: bool = False) -> None:
    vm = vm_of(ctx)
    try:
        _prepare(ctx, vm)
        domains.create(link_to(vm), str(vm.pk), paused)
    except InvalidState:
        if not is_alive(vm):
            raise
        ctx.log("It runs already.")  # from an earlier try, or by another's hand
    look(vm, started=True)


def run_once(ctx: Context) -> None:
    vm = vm_of(ctx)
    _prepare(ctx, vm)
    spec = build_spec(vm)
    if iso_id := ctx.params.get("iso"):
        iso = Disk.objects.filter(pk=iso_id).first()
        if iso is None or not iso.path:
            raise StepFailed("The ISO is gone.")
        spec = with_iso(spec, iso.path)
    try:
        domains.create_once(link_to(vm), xml_of(vm, spec), bool(ctx.params.get("paused")))
    except (InvalidState, AlreadyExists):
        if not is_alive(vm):
            raise
        ctx.log("It runs already.")
    look(vm, started=True)


def shutdown(ctx: Context) -> None:
    """Asks the guest, by its agent or ACPI, and waits until it is off. Cancelling stops the waiting, not the guest."""
    vm = vm_of(ctx)
    link, uuid = link_to(vm), str(vm.pk)
    try:
        domains.shutdown(link, uuid)
    except InvalidState:
        look(vm)
        return
    observe.powering_down(vm)
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while time.monotonic() < deadline:
        ctx.check()
        if state_of(vm) in (None, *OFF):  # a transient domain is gone once it is off
            look(vm)
            return
        time.sleep(POLL_SECONDS)
    if not ctx.params.get("force"):
        observe.shutdown_ignored(vm)
        raise StepFailed(f"The guest did not shut down within {SHUTDOWN_SECONDS} seconds. Power {vm.name} off if it hangs.")
    ctx.log("The guest did not answer in time and was powered off, as asked.")
    _ignoring_off(domains.destroy, vm)
    look(vm)


def _ignoring_off(verb: Callable[..., None], vm: VM) -> None:
    try:
        verb(link_to(vm), str(vm.pk))
    except (InvalidState, NotFound):
        if is_alive(vm):
            raise
        # It is off already, which is what was asked for.


def poweroff(ctx: Context) -> None:
    vm = vm_of(ctx)
    _ignoring_off(domains.destroy, vm)
    look(vm)


def simple(verb: Callable[..., None], done: DomainState | None, ctx: Context) -> None:
    """A verb that libvirt does at once; `done` is the state in which it was done before we were interrupted."""
    vm = vm_of(ctx)
    try:
        verb(link_to(vm), str(vm.pk))
    except InvalidState:
        if done is None or domains.state(link_to(vm), str(vm.pk))[0] != done:
            raise
    look(vm)


register("vm.start", [StepDef("start", "Start it", start)], cancellable=False)
register("vm.start_paused", [StepDef("start", "Start it paused", partial(start, paused=True))], cancellable=False)
register("vm.run_once", [StepDef("start", "Start it once", run_once)], cancellable=False)
register("vm.shutdown", [StepDef("shutdown", "Wait for the guest to shut down", shutdown)], on_end=wake_parent)
register("vm.poweroff", [StepDef("poweroff", "Power it off", poweroff)], cancellable=False)
register("vm.reboot", [StepDef("reboot", "Ask the guest to reboot", partial(simple, domains.reboot, None))], cancellable=False)
register("vm.reset", [StepDef("reset", "Reset it", partial(simple, domains.reset, None))], cancellable=False)
register("vm.pause", [StepDef("pause", "Pause it", partial(simple, domains.suspend, DomainState.PAUSED))], cancellable=False)
register("vm.resume", [StepDef("resume", "Resume it", partial(simple, domains.resume, DomainState.RUNNING))], cancellable=False)
