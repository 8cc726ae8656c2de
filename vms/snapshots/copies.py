"""A VM or a template out of a snapshot: full copies of its frozen layers, while the VM itself goes on."""

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import grant, require
from accounts.quotas import rules
from accounts.quotas.models import Quota
from events.log import record
from hypervisor import storage as pools
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register, submit
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name, valid_text
from storage import observe as storage_observe
from storage.models import Disk, DiskStatus
from vms import quota
from vms.build import domain_name_for, new_display_secret, new_mac
from vms.jobs_change import _template_end, _template_of, remove_template_disks
from vms.lending import expiry_of_new
from vms.models import VM, DiskAttachment, Nic, Template, VmStatus
from vms.snapshots import can, machine
from vms.snapshots.models import Layer, Snapshot, SnapshotDisk
from vms.steps import copy_volume, link_to


def _whole(snapshot: Snapshot, action: str) -> list[SnapshotDisk]:
    verdict = can.check(action, can.facts_of(snapshot.vm), snapshot)
    if not verdict:
        raise NotPossible(verdict.reason)
    return list(snapshot.disks.select_related("layer__disk__domain", "layer__disk__host"))


def at_layer(layer: Layer) -> Disk:
    """The layer's disk as it was then, to be read from; never saved."""
    source = layer.disk
    source.path, source.volume, source.format = layer.path, layer.volume, layer.format
    return source


def clone(user: User, vm: VM, snapshot: Snapshot, name: str, description: str = "") -> tuple[VM, Job]:
    """A VM as this one was at the snapshot, with full copies of its disks and NICs of its own."""
    require(user, "vm.edit", vm)
    require(user, "vm.create", vm.cluster)
    name, marks = valid_name(name), _whole(snapshot, "clone")
    taken = FieldError("name", f"Cluster {vm.cluster.name} has a VM named {name} already.")
    if VM.objects.filter(cluster=vm.cluster_id, name__iexact=name).exists():
        raise taken
    made = VM(
        name=name,
        description=valid_text(description),
        cluster=vm.cluster,
        template=vm.template,
        owner=user,
        host=vm.host,
        status=VmStatus.IMAGE_LOCKED,
        display_secret=new_display_secret(),
        expires_at=expiry_of_new(user),
        quota=rules.choose(user, vm.cluster.data_center, _usable(user, vm)),
        rev=1,
    )
    machine.apply(made, snapshot.machine)
    try:
        with transaction.atomic():
            claims = [
                *quota.claims_of_new(vm.cluster, 0, 0, None, None, None, False),
                *quota.claims_of_disks(mark.layer.disk for mark in marks),
            ]
            rules.take(user, made.quota, claims, subject="this clone", fields={}, obj=made)
            made.domain_name = domain_name_for(made)
            made.save(force_insert=True)
            drafts = {mark: _draft_disk(made, mark, made.quota) for mark in marks}
            _draft_nics(made, vm)
            grant("UserVmManager", made, user=user, by=user)
            params = {
                "start": False,
                "copies": {str(disk.pk): str(mark.layer.disk_id) for mark, disk in drafts.items()},
                "layers": {str(disk.pk): str(mark.layer_id) for mark, disk in drafts.items()},
            }
            title = f"Clone {name} of {snapshot.name} of {vm.name}"
            job = submit("vm.create", user=user, target=made, title=title, params=params, locks=[*drafts.values(), snapshot])
            record("vm.create_asked", f"{user} asked for VM {name}, a clone of {snapshot.name} of {vm.name}", obj=made, user=user, job=job)
            publish("vm", made.pk, "added", made.rev, {"status": made.status})
    except IntegrityError:
        raise taken from None
    return made, job


def _usable(user: User, vm: VM) -> Quota | None:
    """The VM's own quota where the user may take from it."""
    return Quota.objects.usable_by(user).filter(pk=vm.quota_id).first() if vm.quota_id else None


def _draft_disk(made: VM, mark: SnapshotDisk, charged: Quota | None) -> Disk:
    source = mark.layer.disk
    bus = next((each["bus"] for each in mark.snapshot.machine.get("disks", ()) if each["target"] == mark.target), "virtio")
    disk = Disk.objects.create(
        name=f"{made.name}_{mark.target}"[:255],
        domain=source.domain,
        host=source.host,
        capacity_bytes=source.capacity_bytes,
        status=DiskStatus.LOCKED,
        quota=charged,
    )
    DiskAttachment.objects.create(vm=made, disk=disk, target=mark.target, bus=bus)
    return disk


def _draft_nics(made: VM, vm: VM) -> None:
    """As the VM has them now, with addresses of their own."""
    for nic in vm.nics.all():
        Nic.objects.create(vm=made, name=nic.name, mac=new_mac(), network=nic.network, model=nic.model, linked=nic.linked)


def make_template(user: User, vm: VM, snapshot: Snapshot, name: str, description: str = "") -> Job:
    """A template of what the VM was at the snapshot; the VM may run."""
    require(user, "vm.edit", vm)
    require(user, "template.create", vm.cluster.data_center)
    name, marks = valid_name(name), _whole(snapshot, "template")
    if Template.objects.filter(data_center=vm.cluster.data_center_id, name__iexact=name).exists():
        raise FieldError("name", f"A template named {name} exists already.")
    charged = rules.choose(user, vm.cluster.data_center, _usable(user, vm))
    rules.ensure(charged, quota.claims_of_disks(mark.layer.disk for mark in marks), subject="this template")
    params = {"snapshot": str(snapshot.pk), "name": name, "description": valid_text(description)}
    if charged is not None:
        params["quota"] = str(charged.pk)
    return submit(
        "snapshot.template", user=user, target=snapshot, title=f"Make template {name} of {snapshot.name} of {vm.name}", params=params
    )


# The job


def _snapshot(ctx: Context) -> Snapshot:
    found = Snapshot.objects.select_related("vm__cluster__data_center", "vm__host").filter(pk=ctx.params["snapshot"]).first()
    if found is None:
        raise StepFailed("The snapshot is gone.")
    return found


def draft(ctx: Context) -> None:
    """The rows. The template's id is remembered before anything is copied."""
    if _template_of(ctx) is not None:
        return
    snapshot = _snapshot(ctx)
    template = Template(name=ctx.params["name"], description=ctx.params["description"], data_center=snapshot.vm.cluster.data_center, rev=1)
    machine.apply(template, snapshot.machine)
    ctx.save_facts(template=str(template.pk))
    try:
        with transaction.atomic():
            _draft_template(ctx, snapshot, template)
    except IntegrityError:
        raise StepFailed(f"A template named {template.name} exists already.") from None
    except NotPossible as error:
        raise StepFailed(error.reason) from None


def _draft_template(ctx: Context, snapshot: Snapshot, template: Template) -> None:
    marks, wanted = _whole(snapshot, "template"), ctx.params.get("quota")
    charged = Quota.objects.filter(pk=wanted).first() if wanted else None
    if wanted and charged is None:
        raise StepFailed("The quota that it should count against is gone.")
    rules.take(ctx.job.user, charged, quota.claims_of_disks(mark.layer.disk for mark in marks), subject="this template", obj=template.name)
    template.save(force_insert=True)
    for mark in marks:
        source = mark.layer.disk
        copy = Disk.objects.create(
            name=f"{template.name}_{mark.target}"[:255],
            domain=source.domain,
            host=source.host,
            capacity_bytes=source.capacity_bytes,
            status=DiskStatus.LOCKED,
            description=f"copy of {mark.layer_id}",
            quota=charged,
        )
        template.disks.add(copy)


def copy_layers(ctx: Context) -> None:
    snapshot, template = _snapshot(ctx), _template_of(ctx)
    assert template is not None
    sources = {f"copy of {mark.layer_id}": mark.layer for mark in _whole(snapshot, "template")}
    for disk in template.disks.select_related("domain", "host"):
        layer = sources.get(disk.description)
        if layer is None or disk.domain is None:
            raise StepFailed(f"The layer that {disk.name} copies is gone.")
        link = link_to(snapshot.vm)
        copy_volume(ctx, link, disk.domain.pool_name, at_layer(layer), VolumeSpec(disk.volume_name, disk.capacity_bytes, disk.format))
        info = pools.volume_info(link, disk.domain.pool_name, disk.volume_name)
        storage_observe.disk_ready(disk, info.path, info.allocation)
    publish("template", template.pk, "added", template.rev)


register(
    "snapshot.template",
    [
        StepDef("draft", "Note what it consists of", draft),
        StepDef("copy", "Copy the disks", copy_layers, remove_template_disks, weight=20),
    ],
    on_end=_template_end,
)
