"""Jobs that change what a VM is: edit, remove; and templates."""

from hypervisor import domains
from hypervisor import storage as pools
from hypervisor.errors import InvalidState, NotFound
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus
from portal.live import publish
from storage import observe as storage_observe
from storage.models import Disk, DiskContent, DiskStatus
from storage.on_host import link_for
from vms import observe
from vms.models import VM, Template
from vms.services import own_disks
from vms.steps import copy_volume, define, exists_on_host, find_vm, link_to, vm_of


def redefine(ctx: Context) -> None:
    vm = vm_of(ctx)
    if vm.host is None or not exists_on_host(vm):
        return  # the next start defines it
    define(vm)
    VM.objects.filter(pk=vm.pk).update(drift=[])


def undefine(ctx: Context) -> None:
    vm = find_vm(ctx)
    if vm is None or vm.host is None:
        return
    link, uuid = link_to(vm), str(vm.pk)
    try:
        domains.undefine(link, uuid)
    except NotFound:
        return
    except InvalidState as error:
        raise StepFailed(f"{vm.name} runs: {error}", str(error)) from None


def delete_disks(ctx: Context) -> None:
    """Names first, so that a second try still knows them; then volumes, then rows."""
    if ctx.params.get("keep_disks"):
        return
    vm = find_vm(ctx)
    if vm is None:
        return
    for disk in own_disks(vm):
        if disk.domain is None:
            continue
        if disk.path:
            _host, link = link_for(disk)
            pools.delete_volume(link, disk.domain.pool_name, disk.volume_name)
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
    if _template_of(ctx) is not None:
        return
    template = Template(
        name=ctx.params["name"],
        description=ctx.params.get("description", ""),
        data_center=vm.cluster.data_center,
        memory_mib=vm.memory_mib,
        vcpus=vm.vcpus,
        firmware=vm.firmware,
        os=vm.os,
        kernel=vm.kernel,
        initrd=vm.initrd,
        cmdline=vm.cmdline,
        rev=1,
    )
    ctx.save_facts(template=str(template.pk))
    template.save(force_insert=True)
    for attachment in vm.attachments.select_related("disk__domain").filter(device="disk", disk__domain__isnull=False).order_by("target"):
        source = attachment.disk
        assert source is not None
        copy = Disk.objects.create(
            name=f"{template.name}_{attachment.target}"[:255],
            domain=source.domain,
            host=source.host,
            format="qcow2",
            capacity_bytes=source.capacity_bytes,
            status=DiskStatus.LOCKED,
            description=f"copy of {source.pk}",
        )
        template.disks.add(copy)


def copy_disks(ctx: Context) -> None:
    vm, template = vm_of(ctx), _template_of(ctx)
    assert template is not None
    sources = {f"copy of {attachment.disk_id}": attachment.disk for attachment in vm.attachments.select_related("disk")}
    for disk in template.disks.select_related("domain", "host"):
        source = sources.get(disk.description)
        if source is None or disk.domain is None:
            raise StepFailed(f"The disk that {disk.name} copies is gone.")
        link, spec = link_to(vm), VolumeSpec(disk.volume_name, disk.capacity_bytes, disk.format)
        copy_volume(ctx, link, disk.domain.pool_name, source.path, spec)
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
            pools.delete_volume(link, disk.domain.pool_name, disk.volume_name)


def _drop_template(template: Template, job: Job) -> None:
    disks = list(template.disks.all())
    key = template.pk
    template.delete()
    for disk in disks:
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
    if VM.objects.filter(attachments__disk__backing__templates=template).exists():
        raise StepFailed(f"{template.name} is in use.")
    for disk in template.disks.select_related("domain").filter(content=DiskContent.DATA):
        if disk.domain is not None and disk.path:
            _host, link = link_for(disk)
            pools.delete_volume(link, disk.domain.pool_name, disk.volume_name)


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
