"""What the steps of VM jobs share: the loaded VM, its host's link, defining its domain."""

from hosts.connect import link_of
from hypervisor import domains
from hypervisor import storage as pools
from hypervisor.domain_amend import amend_xml
from hypervisor.domain_xml import to_xml
from hypervisor.errors import AlreadyExists, NotFound
from hypervisor.links import HostLink
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.errors import StepFailed
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


def exists_on_host(vm: VM) -> bool:
    try:
        domains.state(link_to(vm), str(vm.pk))
    except NotFound:
        return False
    return True


def define(vm: VM) -> None:
    """The domain as asked for; of an adopted one only what Vireo manages is changed."""
    link, spec = link_to(vm), build_spec(vm)
    if vm.origin == VmOrigin.ADOPTED:
        domains.define(link, amend_xml(domains.get(link, str(vm.pk)).xml, spec))
    else:
        domains.define(link, to_xml(spec))


def look(vm: VM, *, started: bool = False) -> None:
    """Reads the domain and tells vms.observe: a job ends only when libvirt itself says what it did."""
    assert vm.host is not None
    observe.record_seen(vm.host, domains.get(link_to(vm), str(vm.pk)), started=started)


def copy_volume(ctx: Context, link: HostLink, pool: str, source_path: str, spec: VolumeSpec) -> None:
    """A full copy, with progress. One that an earlier try left is made anew: half a copy looks like a whole one."""
    try:
        pools.copy_volume(link, pool, source_path, spec, ctx.progress)
    except AlreadyExists:
        pools.delete_volume(link, pool, spec.name)
        pools.copy_volume(link, pool, source_path, spec, ctx.progress)
