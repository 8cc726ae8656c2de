"""Jobs that change what a VM is: edit, remove; and templates."""

from uuid import UUID, uuid4

from django.db import IntegrityError, transaction

from accounts.managers import in_force
from accounts.models import Grant
from accounts.quotas.models import Quota
from hypervisor import domains
from hypervisor import storage as pools
from hypervisor.errors import NotFound
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus, StepStatus
from portal.errors import NotPossible
from portal.live import publish
from storage import observe as storage_observe
from storage.models import Disk, DiskContent, DiskStatus
from storage.on_host import link_for
from vms import observe, quota
from vms.guest import steps as seed
from vms.guest.models import FirstBootSettings
from vms.guest.settings import SetUpBy
from vms.models import VM, Template, VmOrigin
from vms.services import own_disks, thin_copies
from vms.snapshots.jobs import delete_files as delete_layers
from vms.spec import build_spec
from vms.steps import copy_volume, define, delete_volume, find_vm, is_alive, link_to, look, state_of, vm_of, xml_of


def redefine(ctx: Context) -> None:
    vm = vm_of(ctx)
    if vm.host is None or state_of(vm) is None:
        return  # the next start defines it
    define(vm)
    observe.drifted(vm, ())


def undefine(ctx: Context) -> None:
    """libvirt undefines a running domain, too: it would run on with its disks deleted under it."""
    vm = find_vm(ctx)
    if vm is None or vm.host is None:
        return
    link, uuid = link_to(vm), str(vm.pk)
    runs = StepFailed(f"{vm.name} was started outside of Vireo and runs on {vm.host}. Power it off first.")
    try:
        record = domains.get(link, uuid)
        if is_alive(vm):
            look(vm)
            raise runs
        domains.undefine(link, uuid)
    except NotFound:
        return
    if state_of(vm) is not None:  # somebody started it in between
        domains.define(link, record.xml if vm.origin == VmOrigin.ADOPTED else xml_of(vm, build_spec(vm)))
        look(vm)
        raise runs


def delete_disks(ctx: Context) -> None:
    """Names first, so that a second try still knows them; then volumes, then rows. Its first boot settings always go."""
    vm = find_vm(ctx)
    if vm is None:
        return
    seed.delete(vm)
    if ctx.params.get("keep_disks"):
        return
    disks = own_disks(vm)
    delete_layers(vm, disks)
    for disk in disks:
        if disk.domain is None:
            continue
        if disk.path:
            _host, link = link_for(disk)
            delete_volume(link, disk.domain.pool_name, disk.volume_name)
        vm.attachments.filter(disk=disk).delete()
        storage_observe.disk_removed(disk, ctx.job.user, ctx.job)


def forget(ctx: Context) -> None:
    vm = find_vm(ctx)
    if vm is not None:
        observe.forget(vm, f"{vm.name} was removed", ctx.job.user, ctx.job)


def _template_of(ctx: Context) -> Template | None:
    return Template.objects.filter(pk=ctx.facts.get("template")).first()


def draft_template(ctx: Context) -> None:
    """The rows. Their ids are remembered before anything is copied."""
    vm = vm_of(ctx)
    if vm.host is not None and is_alive(vm):
        raise StepFailed(f"{vm.name} runs on {vm.host}: its disks would change while they are copied.")
    if _template_of(ctx) is not None:
        return
    before = _version_before(ctx)
    template = Template(
        name=before.name if before else ctx.params["name"],
        version=before.version + 1 if before else 1,
        description=ctx.params.get("description", ""),
        data_center=vm.cluster.data_center,
        memory_mib=vm.memory_mib,
        vcpus=vm.vcpus,
        firmware=vm.firmware,
        os=vm.os,
        kernel=vm.kernel,
        initrd=vm.initrd,
        cmdline=vm.cmdline,
        set_up_by=_set_up_by(vm, before),
        sealed=vm.sealed_at is not None,
        rev=1,
    )
    ctx.save_facts(template=str(template.pk))
    try:
        with transaction.atomic():
            _draft_rows(ctx, vm, template)
    except IntegrityError:
        raise StepFailed(f"A template named {template} exists already.") from None
    except NotPossible as error:
        raise StepFailed(error.reason) from None


def _version_before(ctx: Context) -> Template | None:
    """The newest of the versions that this one follows; None for a template of its own."""
    wanted = ctx.params.get("version_of")
    if not wanted:
        return None
    chosen = Template.objects.filter(pk=wanted).first()
    if chosen is None:
        raise StepFailed("The template that this should be a version of is gone.")
    return Template.objects.filter(data_center=chosen.data_center_id, name__iexact=chosen.name).order_by("-version").first()


def _set_up_by(vm: VM, before: Template | None) -> str:
    """Whoever sets up the VM's guest sets up those made of it, too."""
    told = FirstBootSettings.objects.filter(vm=vm).exclude(by=SetUpBy.NONE).values_list("by", flat=True).first()
    origin = before or vm.template
    return told or (origin.set_up_by if origin else SetUpBy.NONE)


def _draft_rows(ctx: Context, vm: VM, template: Template) -> None:
    """The template and its disks, which count against the quota that was chosen when it was asked for."""
    wanted = ctx.params.get("quota")
    charged = Quota.objects.filter(pk=wanted).first() if wanted else None
    if wanted and charged is None:
        raise StepFailed("The quota that it should count against is gone.")
    quota.take_template(ctx.job.user, vm, charged, template.name)
    template.save(force_insert=True)
    if wanted_version := ctx.params.get("version_of"):
        _copy_grants(UUID(wanted_version), template)
    for attachment in vm.attachments.select_related("disk__domain").filter(device="disk", disk__domain__isnull=False).order_by("target"):
        source = attachment.disk
        assert source is not None
        copy = Disk.objects.create(
            name=f"{template.name}_v{template.version}_{attachment.target}"[:255]
            if template.version > 1
            else f"{template.name}_{attachment.target}"[:255],
            domain=source.domain,
            host=source.host,
            format="qcow2",
            capacity_bytes=source.capacity_bytes,
            status=DiskStatus.LOCKED,
            description=f"copy of {source.pk}",
            quota=charged,
        )
        template.disks.add(copy)


def _copy_grants(source: UUID, template: Template) -> None:
    """Who may use one version may use the next."""
    for given in Grant.objects.filter(object_type="template", object_id=source).filter(in_force()):
        given.pk, given._state.adding, given.object_id = uuid4(), True, template.pk
        given.save(force_insert=True)


def copy_disks(ctx: Context) -> None:
    vm, template = vm_of(ctx), _template_of(ctx)
    assert template is not None
    sources = {f"copy of {attachment.disk_id}": attachment.disk for attachment in vm.attachments.select_related("disk__domain")}
    for disk in template.disks.select_related("domain", "host"):
        source = sources.get(disk.description)
        if source is None or disk.domain is None:
            raise StepFailed(f"The disk that {disk.name} copies is gone.")
        link, spec = link_to(vm), VolumeSpec(disk.volume_name, disk.capacity_bytes, disk.format)
        copy_volume(ctx, link, disk.domain.pool_name, source, spec)
        info = pools.volume_info(link, disk.domain.pool_name, disk.volume_name)
        storage_observe.disk_ready(disk, info.path, info.allocation)
    publish("template", template.pk, "added", template.rev)


def remove_template_disks(ctx: Context) -> None:
    template = _template_of(ctx)
    if template is None:
        return
    for disk in template.disks.select_related("domain"):
        if disk.domain is not None:
            _host, link = link_for(disk)
            delete_volume(link, disk.domain.pool_name, disk.volume_name)


def _drop_template(template: Template, job: Job) -> None:
    """A disk whose volume could not be deleted stays, illegal, so that an administrator finds and removes it."""
    left = job.steps.filter(status=StepStatus.UNDO_FAILED).exists()
    disks = list(template.disks.all())
    key = template.pk
    Grant.objects.filter(object_type="template", object_id=key).delete()
    template.delete()
    for disk in disks:
        if left:
            storage_observe.disk_status(disk, DiskStatus.ILLEGAL)
        else:
            storage_observe.disk_removed(disk, job.user, job)
    publish("template", key, "removed")


def _template_end(job: Job) -> None:
    template = Template.objects.filter(pk=job.facts.get("template")).first()
    if job.status != JobStatus.SUCCEEDED and template is not None:
        _drop_template(template, job)


def _removed_template(ctx: Context) -> Template | None:
    return Template.objects.filter(pk=ctx.job.object_id).first()


def delete_template_disks(ctx: Context) -> None:
    template = _removed_template(ctx)
    if template is None:
        return
    if used := thin_copies(template):
        raise StepFailed(f"{template} is in use: thin copies of its disks belong to {', '.join(used)}.")
    for disk in template.disks.select_related("domain").filter(content=DiskContent.DATA):
        if disk.domain is not None and disk.path:
            _host, link = link_for(disk)
            delete_volume(link, disk.domain.pool_name, disk.volume_name)


def forget_template(ctx: Context) -> None:
    template = _removed_template(ctx)
    if template is not None:
        _drop_template(template, ctx.job)


register("vm.edit", [StepDef("define", "Define the domain", redefine)], cancellable=False)
register(
    "vm.remove",
    [
        StepDef("undefine", "Remove the domain", undefine),
        StepDef("disks", "Delete its disks", delete_disks, weight=2),
        StepDef("forget", "Forget it", forget),
    ],
    cancellable=False,
)
register(
    "template.create",
    [
        StepDef("draft", "Note what it consists of", draft_template),
        StepDef("copy", "Copy the disks", copy_disks, remove_template_disks, weight=20),
    ],
    on_end=_template_end,
)
register(
    "template.remove",
    [StepDef("disks", "Delete its disks", delete_template_disks, weight=2), StepDef("forget", "Forget it", forget_template)],
    cancellable=False,
)
