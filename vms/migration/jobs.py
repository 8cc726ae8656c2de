"""The job `vm.migrate`. libvirt on the source does the work; the job watches, and in the end asks both hosts where the guest runs."""

import time
from dataclasses import asdict

from django.db import transaction

from hosts.connect import address_of, link_of
from hosts.migration_policies.policies import options_of
from hosts.models import Cluster, Host, HostTransport
from hypervisor import domains, migration
from hypervisor.domain_state import DomainState
from hypervisor.errors import HostUnreachable, HypervisorError, NotFound
from hypervisor.migration import MigrationOptions, MigrationProgress
from jobs.context import Context
from jobs.engine import register
from jobs.errors import NotNow, StepFailed
from jobs.kinds import StepDef
from jobs.models import Job
from jobs.runner import wake_parent
from vms import observe
from vms.migration import limits
from vms.models import VM
from vms.placement import services as placement
from vms.steps import look, vm_of

TELL_SECONDS = 1.0  # how often the page of migrations gets new figures
_RUNS = frozenset({DomainState.RUNNING, DomainState.BLOCKED})


def choose(ctx: Context) -> None:
    vm = vm_of(ctx)
    if vm.host is None:
        raise StepFailed(f"{vm.name} is on no host.")
    if ctx.facts.get("target"):
        return  # a worker that died here has chosen: the guest may be on its way already
    wished = ctx.params.get("target")
    named = Host.objects.filter(pk=wished).first() if wished else None
    if wished and named is None:
        raise StepFailed("The host that was asked for is gone.")
    limits.check_turn(ctx.job, vm.cluster, vm.host)
    target = placement.choose(vm, ctx.job, wished=named, away=True)
    if target.transport != HostTransport.TLS:
        raise StepFailed(f"VMs move from host to host over TLS, and {target} was added by {target.get_transport_display()}.")
    with transaction.atomic():  # the cluster's lock: two never take the last turn
        cluster = Cluster.objects.select_for_update().get(pk=vm.cluster_id)
        limits.check_turn(ctx.job, cluster, vm.host, target)
        ctx.save_facts(source=str(vm.host.pk), target=str(target.pk))
    ctx.log(f"From {vm.host} to {target}.")


def _hosts(ctx: Context) -> tuple[Host, Host]:
    found = {str(host.pk): host for host in Host.objects.filter(pk__in=(ctx.facts["source"], ctx.facts["target"]))}
    try:
        return found[ctx.facts["source"]], found[ctx.facts["target"]]
    except KeyError:
        raise StepFailed("A host of this migration is gone.") from None


def runs_on(host: Host, vm: VM) -> bool:
    """It executes there with all of its memory; one that is still coming in is paused, or fetches. Raises HostUnreachable."""
    try:
        state, reason = domains.state(link_of(host), str(vm.pk))
        return state in _RUNS and not reason.startswith("postcopy")
    except NotFound:
        return False


def _arrived(source: Host, target: Host, vm: VM) -> bool:
    """Raises StepFailed when the target is away and it runs where it was, NotNow when nobody knows."""
    try:
        return runs_on(target, vm)
    except HostUnreachable as error:
        try:
            still = runs_on(source, vm)
        except HostUnreachable:
            still = False
        if still:
            raise StepFailed(f"{vm.name} was not moved and runs on {source}: {error}", str(error)) from None
        raise NotNow(f"{target} does not answer: nobody knows yet where {vm.name} runs.", str(error)) from None


def move(ctx: Context) -> None:
    vm, (source, target) = vm_of(ctx), _hosts(ctx)
    link, uuid = link_of(source), str(vm.pk)
    options = MigrationOptions(**asked) if (asked := ctx.params.get("options")) else options_of(vm.cluster)
    if _arrived(source, target, vm):
        ctx.log(f"It runs on {target} already.")
        return

    told_at = 0.0

    def tell(seen: MigrationProgress) -> None:
        nonlocal told_at
        if seen.total:
            ctx.progress(max(0, seen.total - seen.left), seen.total)
        if time.monotonic() >= told_at + TELL_SECONDS:
            told_at = time.monotonic()
            ctx.save_facts(seen=asdict(seen))
        ctx.check()

    observe.migrating(vm)
    try:
        if migration.progress_of(link, uuid) is not None:
            ctx.log("It is on its way already.")
            migration.follow(link, uuid, options, tell)
        else:
            if migration.take_clipboard(link, uuid):
                ctx.log("Its clipboard was unplugged for the journey.")
            migration.migrate(link, uuid, address_of(target).uri, f"tcp://{_bracketed(target.address)}", options, tell)
    except HostUnreachable as error:
        raise NotNow(f"{source} does not answer: nobody knows yet where {vm.name} runs.", str(error)) from None
    except HypervisorError as error:
        if not _arrived(source, target, vm):
            raise StepFailed(f"{vm.name} {_what_became_of_it(source, vm)}: {error}", str(error)) from None
    if not _arrived(source, target, vm):
        raise StepFailed(f"{vm.name} did not arrive at {target}.")


def _what_became_of_it(source: Host, vm: VM) -> str:
    try:
        if runs_on(source, vm):
            return f"was not moved and runs on {source}"
    except HostUnreachable:
        return f"did not arrive, and {source} does not answer"
    return f"neither runs on {source} any more nor arrived whole: power it off and run it again"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def settle(ctx: Context) -> None:
    vm, (_source, target) = vm_of(ctx), _hosts(ctx)
    observe.migrated(vm, target)
    vm.host = target
    look(vm)
    if done := migration.completed(link_of(target), str(vm.pk)):
        ctx.save_facts(done=asdict(done))
        ctx.log(f"{done.elapsed_ms} ms in all, {done.done >> 20} MiB; it stood still for {done.downtime_ms} ms.")


def _end(job: Job) -> None:
    """However it ended: the row says where the guest runs, and who waits for this one goes on."""
    transaction.on_commit(limits.next_turn)
    wake_parent(job)
    _say_where(job)


def _say_where(job: Job) -> None:
    """By asking who should have it; its clipboard is plugged in again."""
    vm = VM.objects.filter(pk=job.object_id).first()
    for key in ("target", "source"):
        host = Host.objects.filter(pk=job.facts.get(key)).first()
        try:
            if vm is not None and host is not None and runs_on(host, vm):
                observe.migrated(vm, host)
                migration.give_clipboard(link_of(host), str(vm.pk))
                return
        except HypervisorError:
            continue  # the watcher tells when the host answers again


register(
    "vm.migrate",
    [
        StepDef("choose", "Choose the host", choose),
        StepDef("move", "Move it", move, weight=20),
        StepDef("settle", "See where it runs", settle),
    ],
    on_end=_end,
)
