"""The verb: move a running VM to another host."""

from accounts.models import User
from accounts.permissions import require
from hosts.migration_policies.models import FASTEST_MIB, LATEST_POST_COPY_S, LONGEST_DOWNTIME_MS
from hosts.models import Host, HostTransport
from hypervisor.migration import MigrationOptions
from jobs import engine
from jobs.engine import holder_of
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from vms.can import check
from vms.models import VM


def migrate(user: User, vm: VM, target: Host | None = None, options: MigrationOptions | None = None) -> Job:
    """Moves it live; the job `vm.migrate` chooses the host when none is named, and without options moves it by its cluster's policy.

    Raises:
        PermissionDenied, FieldError.
        NotPossible: it does not run, its disks lie on its host, or its host is not reached over TLS.
    """
    require(user, "vm.migrate", vm)
    verdict = check("migrate", vm, busy=holder_of(vm))
    if not verdict:
        raise NotPossible(verdict.reason)
    assert vm.host is not None
    if target is not None and (target.cluster_id != vm.cluster_id or target == vm.host):
        raise FieldError("host", f"Choose another host of cluster {vm.cluster}.")
    if reason := why_not_live(vm):
        raise NotPossible(reason)
    if options is not None:
        _check_options(options)
    where = f" to {target.name}" if target is not None else ""
    params = {"target": str(target.pk) if target is not None else "", "options": vars(options) if options is not None else None}
    return engine.submit("vm.migrate", user=user, target=vm, title=f"Migrate {vm.name}{where}", locks=[vm], params=params)


def _check_options(options: MigrationOptions) -> None:
    """Raises FieldError."""
    if not 0 <= options.bandwidth_mib <= FASTEST_MIB:
        raise FieldError("bandwidth_mib", "This is not a bandwidth.")
    if not 0 <= options.downtime_ms <= LONGEST_DOWNTIME_MS:
        raise FieldError("downtime_ms", "At most a minute.")
    if not 1 <= options.post_copy_after_s <= LATEST_POST_COPY_S:
        raise FieldError("post_copy_after_s", "From a second to a day.")


def why_not_live(vm: VM) -> str:
    """What keeps it on its host, in a sentence; empty when nothing does."""
    assert vm.host is not None
    if vm.host.transport != HostTransport.TLS:
        return f"VMs move from host to host over TLS, and {vm.host} was added by {vm.host.get_transport_display()}: enrol it."
    local = vm.attachments.filter(disk__host__isnull=False).select_related("disk").first()
    if local is not None and local.disk is not None:
        return f"Its disk {local.disk.name} lies on {vm.host} alone: move it to shared storage first."
    foreign = vm.attachments.filter(disk__isnull=False, disk__domain=None).select_related("disk").first()
    if foreign is not None and foreign.disk is not None:
        return f"Its disk {foreign.disk.name} is none of Vireo's: nobody knows whether another host has it."
    return ""
