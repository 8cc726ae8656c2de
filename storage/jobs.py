"""Jobs on storage domains. Those on disks are in storage.disk_jobs."""

from collections.abc import Callable
from dataclasses import replace

from hosts.connect import link_of
from hosts.models import Host, HostStatus
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, HostUnreachable, HypervisorError
from hypervisor.spec import VolumeSpec
from jobs.engine import Context, StepDef, register
from jobs.errors import StepFailed
from jobs.models import Job, JobStatus
from storage import imports, observe, on_host
from storage.domains import running_on
from storage.models import StorageDomain, StorageStatus

_CHECK_BYTES = 4096


def _domain(ctx: Context) -> StorageDomain:
    return StorageDomain.objects.select_related("data_center").get(pk=ctx.job.object_id)


def _hosts(domain: StorageDomain) -> list[Host]:
    return list(
        Host.objects.select_related("cluster").filter(
            cluster__data_center_id=domain.data_center_id, status__in=(HostStatus.UP, HostStatus.NON_OPERATIONAL)
        )
    )


def ready_on_hosts(ctx: Context) -> None:
    """Tries every host. One that cannot have the domain does not stop the others; when none can, the job fails, naming each."""
    domain = _domain(ctx)
    observe.set_status(domain, StorageStatus.ACTIVATING)
    hosts, reasons = _hosts(domain), []
    for index, host in enumerate(hosts):
        ctx.progress(index, len(hosts))
        try:
            reason = on_host.ensure(domain, host)
        except HostUnreachable as error:
            reason = str(error)
        if reason:
            reasons.append(f"{host.name}: {reason}")
        ctx.log(f"{host.name}: {reason or 'ready'}")
    if not hosts:
        ctx.log("No host is up: hosts get the domain when they are activated.")
    elif len(reasons) == len(hosts):
        raise StepFailed(f"No host can use {domain.place}: {reasons[0]}.", "\n".join(reasons))


def release_from_hosts(ctx: Context) -> None:
    """Takes the domain off every host that answers. One that does not answer keeps an unused pool until it is activated."""
    domain = _domain(ctx)
    for host in _hosts(domain):
        try:
            on_host.release(domain, host)
        except HostUnreachable as error:
            ctx.log(f"{host.name}: {error}")


def withdraw(ctx: Context) -> None:
    """What was defined goes again; why each host could not have it stays to be read."""
    domain = _domain(ctx)
    for host in _hosts(domain):
        try:
            on_host.withdraw(domain, host)
        except HypervisorError as error:
            ctx.log(f"{host.name}: {error}")


def check_shared(ctx: Context) -> None:
    """A shared directory must be one and the same: what one host writes, all others must see."""
    domain = _domain(ctx)
    ready = on_host.hosts_with(domain)
    if not domain.is_shared or not domain.traits.makes or len(ready) < 2:
        return
    writer, *readers = ready
    name = f"vireo-check-{ctx.job.pk}"
    try:
        pools.create_volume(link_of(writer), domain.pool_name, VolumeSpec(name, _CHECK_BYTES, "raw"))
    except AlreadyExists:
        ctx.log("The check's file is there from an earlier try.")
    try:
        for reader in readers:
            _must_see(ctx, domain, writer, reader, name)
    finally:
        pools.delete_volume(link_of(writer), domain.pool_name, name)


def _must_see(ctx: Context, domain: StorageDomain, writer: Host, reader: Host, name: str) -> None:
    link = link_of(reader)
    try:
        pools.refresh_pool(link, domain.pool_name)
        seen = any(volume.name == name for volume in pools.list_volumes(link, domain.pool_name))
    except HypervisorError as error:
        ctx.log(f"{reader.name}: {error}")
        return
    if not seen:
        reason = f"{domain.place} is not shared: {reader.name} does not see what {writer.name} writes there"
        observe.failed(domain, reader, reason)
        ctx.log(reason)


def _active(ctx: Context) -> None:
    domain = _domain(ctx)
    if not domain.on_hosts.exists():
        observe.set_status(domain, StorageStatus.UNKNOWN, "no host that is up has it")
    else:
        observe.summarize(domain)


def _nothing_runs(domain: StorageDomain) -> None:
    if names := running_on(domain):
        raise StepFailed(f"Running VMs have disks in {domain.name}: {', '.join(names[:5])}.")


def _rest(ctx: Context) -> None:
    domain = _domain(ctx)
    _nothing_runs(domain)
    observe.set_status(domain, StorageStatus.PREPARING_FOR_MAINTENANCE)


def _back(ctx: Context) -> None:
    domain = _domain(ctx)
    observe.set_status(domain, StorageStatus.UNKNOWN)
    observe.summarize(domain)


def _write_records(ctx: Context) -> None:
    """While a host still has it, so that whoever gets the storage next finds its VMs as they are now."""
    from vms.records import keeping as records  # heavy, and not for processes that only know of this kind

    try:
        if records.keep(_domain(ctx)):
            ctx.log("Its VMs are written down on it.")
    except HypervisorError as error:
        ctx.log(f"Its VMs could not be written down: {error}")


def _at_rest(ctx: Context) -> None:
    observe.set_status(_domain(ctx), StorageStatus.MAINTENANCE)


def _detached(ctx: Context) -> None:
    domain = _domain(ctx)
    domain.on_hosts.all().delete()
    domain.found.all().delete()
    observe.set_status(domain, StorageStatus.UNATTACHED)


def _scan_if_wanted(ctx: Context) -> None:
    if ctx.params.get("scan"):
        imports.scan(ctx)


def _forget_all(ctx: Context) -> None:
    domain = StorageDomain.objects.filter(pk=ctx.job.object_id).first()
    if domain is not None:
        _nothing_runs(domain)
        observe.destroyed(domain, ctx.job.user, ctx.job)


def _try_to_release(ctx: Context) -> None:
    """The storage may be lost, and a host hang on it: whatever is left there is no reason to keep the domain."""
    domain = _domain(ctx)
    _nothing_runs(domain)
    for host in _hosts(domain):
        try:
            on_host.release(domain, host)
        except HypervisorError as error:
            ctx.log(f"{host.name} keeps an unused pool: {error}")


def _forget(ctx: Context) -> None:
    domain = StorageDomain.objects.filter(pk=ctx.job.object_id).first()
    if domain is None:
        return
    if domain.disks.exists():
        raise StepFailed(f"Disks lie in {domain.name}.")
    observe.removed(domain, ctx.job.user, ctx.job)


def _if_there(step: Callable[[Context], None]) -> Callable[[Context], None]:
    """A removal that is run again may find its row gone already."""

    def do(ctx: Context) -> None:
        if StorageDomain.objects.filter(pk=ctx.job.object_id).exists():
            step(ctx)

    return do


def _created(job: Job) -> None:
    """A domain that no host could take stays, with the reason: unattached, to be corrected; one that was activated, inactive."""
    domain = StorageDomain.objects.filter(pk=job.object_id).first()
    if domain is not None and job.status != JobStatus.SUCCEEDED:
        status = StorageStatus.INACTIVE if job.kind == "storage.activate" else StorageStatus.UNATTACHED
        observe.set_status(domain, status, job.error or "it was cancelled")


_READY = [
    StepDef("hosts", "Reach it from every host", ready_on_hosts, weight=4),
    StepDef("shared", "Check that all hosts see the same", check_shared),
    StepDef("active", "Take into use", _active),
]
# A creation that fails takes off again what it defined; an activation leaves things for the next try.
_ATTACH = [replace(_READY[0], undo=withdraw), *_READY[1:]]
register("storage.create", [*_ATTACH, StepDef("scan", "Look for disks", _scan_if_wanted)], on_end=_created)
register("storage.attach", _ATTACH, on_end=_created)
register("storage.scan", [StepDef("scan", "Look for disks on the storage", imports.scan)])
register("storage.activate", _READY, on_end=_created)
register(
    "storage.maintenance",
    [
        StepDef("rest", "Check that nothing runs from it", _rest, _back),
        StepDef("records", "Write its VMs down on it", _write_records),
        StepDef("release", "Release it on every host", release_from_hosts, ready_on_hosts),
        StepDef("at-rest", "Take out of use", _at_rest),
    ],
)
register(
    "storage.detach",
    [
        StepDef("rest", "Check that nothing runs from it", _rest, _back),
        StepDef("records", "Write its VMs down on it", _write_records),
        StepDef("release", "Take it off every host", release_from_hosts),
        StepDef("detached", "Remember its disks", _detached),
    ],
)
register(
    "storage.destroy",
    [
        StepDef("release", "Take it off the hosts that answer", _if_there(_try_to_release)),
        StepDef("forget", "Forget it and its disks", _forget_all),
    ],
    cancellable=False,
)
register(
    "storage.remove",
    [StepDef("release", "Release it on every host", _if_there(release_from_hosts)), StepDef("forget", "Remove it from Vireo", _forget)],
    cancellable=False,
)
