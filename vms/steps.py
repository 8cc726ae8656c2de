"""What the steps of VM jobs share: the loaded VM, its host's link, defining its domain."""

from hosts.connect import link_of
from hypervisor import domains
from hypervisor import storage as pools
from hypervisor.domain_state import DomainState
from hypervisor.domain_xml import amend_xml, to_xml
from hypervisor.errors import AlreadyExists, InvalidState, NotFound
from hypervisor.links import HostLink
from hypervisor.spec import DomainSpec, VolumeSpec
from jobs.context import Context
from jobs.errors import NotNow, StepFailed
from storage.models import Disk
from vms import observe
from vms.models import VM, VmOrigin
from vms.spec import build_spec


def vm_of(ctx: Context) -> VM:
    """The job's VM. Raises StepFailed when it is gone."""
    vm = find_vm(ctx)
    if vm is None:
        raise StepFailed(f"{ctx.job.object_name} is gone.")
    return vm


def find_vm(ctx: Context) -> VM | None:
    return VM.objects.select_related("host__cluster", "cluster", "owner", "template").filter(pk=ctx.job.object_id).first()


def link_to(vm: VM) -> HostLink:
    if vm.host is None:
        raise StepFailed(f"{vm.name} is on no host.")
    return link_of(vm.host)


OFF = frozenset({DomainState.SHUTOFF, DomainState.CRASHED, DomainState.NOSTATE})


def state_of(vm: VM) -> DomainState | None:
    """What its domain does now; None when the host has none."""
    try:
        return domains.state(link_to(vm), str(vm.pk))[0]
    except NotFound:
        return None


def is_alive(vm: VM) -> bool:
    """A process runs it, be it paused: its disks are in use."""
    state = state_of(vm)
    return state is not None and state not in OFF


def xml_of(vm: VM, spec: DomainSpec) -> str:
    """The definition as asked for; of an adopted domain only what Vireo manages is changed."""
    if vm.origin == VmOrigin.ADOPTED:
        return amend_xml(domains.get(link_to(vm), str(vm.pk)).xml, spec)
    return to_xml(spec)


def define(vm: VM) -> None:
    """Defines the domain as asked for, or defines it anew."""
    define_as(vm, build_spec(vm))


def define_as(vm: VM, spec: DomainSpec) -> None:
    """Defines the domain as this spec says."""
    domains.define(link_to(vm), xml_of(vm, spec))


def look(vm: VM, *, started: bool = False) -> None:
    """Reads the domain and tells vms.observe: a job ends only when libvirt itself says what it did."""
    assert vm.host is not None
    try:
        observe.record_seen(vm.host, domains.get(link_to(vm), str(vm.pk)), started=started)
    except NotFound:
        observe.vanished(vm)


def copy_volume(ctx: Context, link: HostLink, pool: str, source: Disk, spec: VolumeSpec) -> None:
    """A full copy, with progress. One that an earlier try left is made anew: half a copy looks like a whole one."""
    if source.domain is not None and source.volume_name not in pools.volume_names(link, source.domain.pool_name):
        pools.refresh_pool(link, source.domain.pool_name)  # another host made it, and this one has not looked since
    try:
        pools.copy_volume(link, pool, source.path, spec, ctx.progress)
    except AlreadyExists:
        delete_volume(link, pool, spec.name)
        pools.copy_volume(link, pool, source.path, spec, ctx.progress)


def delete_volume(link: HostLink, pool: str, name: str) -> None:
    """Missing is fine. Raises NotNow while libvirtd still writes a copy that a dead worker of ours asked for."""
    try:
        pools.delete_volume(link, pool, name)
    except InvalidState as error:
        raise NotNow(f"The host still works on {name}: {error}", str(error)) from None
