"""The job `vm.create`: place, disks, domain, start. Whatever interrupts it, either all is there in the end, or nothing."""

from hosts.models import Host
from hypervisor import domains
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, InvalidState, NotFound
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus, StepStatus
from storage import observe as storage_observe
from storage.models import Disk, DiskContent, DiskStatus
from vms import observe
from vms.guest import steps as seed
from vms.models import VM, Layer
from vms.placement import services as placement
from vms.steps import copy_volume, define, delete_volume, find_vm, link_to, look, vm_of


def place(ctx: Context) -> None:
    """The host, and with it the place of local disks."""
    vm = vm_of(ctx)
    # A worker that died here may have chosen and told nobody yet: the choice stands, and what follows is done again.
    host = Host.objects.filter(pk=ctx.facts.get("host")).first() or placement.choose(vm, ctx.job, _copied(ctx).values(), vm.host)
    ctx.save_facts(host=str(host.pk))
    observe.placed(vm, host)
    local = [disk.pk for disk in _own_disks(vm) if disk.domain and not disk.domain.is_shared]
    Disk.objects.filter(pk__in=local).update(host=host)
    ctx.log(f"Host {host.name} was chosen.")


def _own_disks(vm: VM) -> list[Disk]:
    """All that it has but its ISO: the job has both locked until its end, so nobody else's disk is among them."""
    disks = Disk.objects.select_related("domain", "backing", "host").filter(attachments__vm=vm)
    return list(disks.exclude(content=DiskContent.ISO).order_by("created_at"))


def _copied(ctx: Context) -> dict[str, Disk]:
    """What each disk that is no thin copy is a full copy of, by the disk's id."""
    wanted: dict[str, str] = ctx.params.get("copies", {})
    found = {str(disk.pk): disk for disk in Disk.objects.select_related("domain", "host").filter(pk__in=wanted.values())}
    if len(found) < len(set(wanted.values())):
        raise StepFailed("A disk of the template is gone.")
    copied = {key: found[source] for key, source in wanted.items()}
    for key, layer in Layer.objects.in_bulk(ctx.params.get("layers", {}).values()).items():  # as the source was at a snapshot
        source = next(copied[each] for each, wants in ctx.params["layers"].items() if wants == str(key))
        source.path, source.volume, source.format = layer.path, layer.volume, layer.format
    return copied


def make_disks(ctx: Context) -> None:
    """Volumes bear the disks' ids as names, so one that is there already is ours, from an earlier try."""
    vm = vm_of(ctx)
    link = link_to(vm)
    copied = _copied(ctx)
    for disk in _own_disks(vm):
        ctx.check()
        assert disk.domain is not None
        backing = disk.backing
        spec = VolumeSpec(
            disk.volume_name,
            disk.capacity_bytes,
            disk.format,
            backing_path=backing.path if backing else "",
            backing_format=backing.format if backing else "",
            thick=not disk.domain.traits.thin,
        )
        source = copied.get(str(disk.pk))
        try:
            if source is not None:
                copy_volume(ctx, link, disk.domain.pool_name, source, spec)
            else:
                pools.create_volume(link, disk.domain.pool_name, spec)
        except AlreadyExists:
            ctx.log(f"The volume of {disk.name} is there from an earlier try.")
        except NotFound as error:
            raise StepFailed(f"Storage domain {disk.domain.name} is not ready on {vm.host}: {error}", str(error)) from None
        info = pools.volume_info(link, disk.domain.pool_name, disk.volume_name)
        Disk.objects.filter(pk=disk.pk).update(path=info.path, allocated_bytes=info.allocation)


def remove_disks(ctx: Context) -> None:
    vm = find_vm(ctx)
    if vm is None or vm.host is None:
        return
    for disk in _own_disks(vm):
        if disk.domain is not None:
            try:
                delete_volume(link_to(vm), disk.domain.pool_name, disk.volume_name)
            except NotFound:
                continue  # the pool itself is gone, and the volume with it


def make_domain(ctx: Context) -> None:
    define(vm_of(ctx))


def remove_domain(ctx: Context) -> None:
    vm = find_vm(ctx)
    if vm is None or vm.host is None:
        return
    link, uuid = link_to(vm), str(vm.pk)
    for verb in (domains.destroy, domains.undefine):
        try:
            verb(link, uuid)
        except NotFound:
            return
        except InvalidState:
            continue  # it does not run, so there is nothing to power off


def start(ctx: Context) -> None:
    vm = vm_of(ctx)
    if ctx.params.get("start"):
        try:
            domains.create(link_to(vm), str(vm.pk))
        except InvalidState:
            ctx.log("It runs already, from an earlier try.")


def settle(ctx: Context) -> None:
    """Disks and VM leave their locked states; the status is what libvirt says."""
    vm = vm_of(ctx)
    for disk in _own_disks(vm):
        storage_observe.disk_status(disk, DiskStatus.OK)
    observe.created(vm)
    look(vm, started=bool(ctx.params.get("start")))


def _end(job: Job) -> None:
    """Nothing came of it: no row stays behind. The job keeps the name and the reason."""
    if job.status == JobStatus.SUCCEEDED:
        return
    vm = VM.objects.filter(pk=job.object_id).first()
    if vm is not None:
        disks = _own_disks(vm)
        observe.forget(vm, f"{vm.name} was not made: {job.error or 'cancelled'}", job.user, job)
        if job.steps.filter(name="disks", status=StepStatus.UNDO_FAILED).exists():
            for disk in disks:  # what could not be deleted stays in sight
                storage_observe.disk_status(disk, DiskStatus.ILLEGAL)
        else:
            Disk.objects.filter(pk__in=[disk.pk for disk in disks]).delete()


STEPS = [
    StepDef("place", "Choose a host", place),
    StepDef("disks", "Make the disks", make_disks, remove_disks, weight=5),
    StepDef("seed", "Write its first boot settings", seed.write),  # the volume is one of its disks, undone with them
    StepDef("domain", "Define the domain", make_domain, remove_domain),
    StepDef("start", "Start it", start),
    StepDef("settle", "See what became of it", settle),
]
register("vm.create", STEPS, on_end=_end)
