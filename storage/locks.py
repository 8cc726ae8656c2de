"""Whether a file that one host has open is refused to another: found out by trying, with a file and two domains of ours."""

from contextlib import suppress

from events.log import record
from events.models import Severity
from hosts.connect import link_of
from hosts.models import Host
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, HypervisorError, NotFound
from hypervisor.spec import VolumeSpec
from hypervisor.workbench import workbench
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from storage import observe, on_host
from storage.models import StorageDomain

_CHECK_BYTES = 1 << 20
# In QEMU's words («Failed to get "write" lock») and in virtlockd's («Lockspace resource … is locked»).
REFUSED = "lock"


def try_locks(ctx: Context) -> None:
    """The first host opens a file for a moment, and each of the others tries to: all must be refused."""
    domain = StorageDomain.objects.get(pk=ctx.job.object_id)
    hosts = on_host.hosts_with(domain)
    if len(hosts) < 2:
        raise StepFailed(f"This takes two hosts that have {domain.name} and are up; there {'is one' if hosts else 'are none'}.")
    holder, *others = hosts
    name, link = f"vireo-locks-{ctx.job.pk}", link_of(holder)
    try:
        with suppress(AlreadyExists):  # of an earlier try
            pools.create_volume(link, domain.pool_name, VolumeSpec(name, _CHECK_BYTES, "qcow2"))
        path = pools.volume_info(link, domain.pool_name, name).path
        with workbench(link, str(domain.pk), path, runs=True):
            let_in = [host.name for host in others if not _is_refused(ctx, domain, host, path)]
    finally:
        with suppress(NotFound):
            pools.delete_volume(link, domain.pool_name, name)
    observe.locks_tried(domain, not let_in)
    text = f"Locks hold in {domain.name}: what {holder.name} has open, {_names(others)} cannot open"
    if let_in:
        text = f"Locks do not hold in {domain.name}: {', '.join(let_in)} could open what {holder.name} has open"
    ctx.log(text)
    record("storage_domain.locks", text, obj=domain, job=ctx.job, severity=Severity.WARNING if let_in else Severity.INFO)


def _is_refused(ctx: Context, domain: StorageDomain, host: Host, path: str) -> bool:
    """Any other failure tells nothing about locks, and fails the job."""
    try:
        with workbench(link_of(host), str(domain.pk), path, runs=True):
            return False
    except HypervisorError as error:
        if REFUSED not in str(error).lower():
            raise
        ctx.log(f"{host.name} was refused: {error}")
        return True


def _names(hosts: list[Host]) -> str:
    return ", ".join(host.name for host in hosts)


def why_unknown(domain: StorageDomain) -> str:
    """Why locks of this domain may decide nothing; empty when they may."""
    if not domain.has_locks:
        return f"{domain.name} is no shared file system, whose locks other hosts see."
    if domain.locks_hold is None:
        return f"Nobody has tried yet whether the locks of {domain.name} hold: choose «Try locks» on its page first."
    return "" if domain.locks_hold else f"The locks of {domain.name} do not hold between hosts."


register("storage.locks", [StepDef("try", "Open a file at one host, and try to at the others", try_locks)], cancellable=False)
