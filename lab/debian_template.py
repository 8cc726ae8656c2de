"""A template of the Debian cloud image, made by a job: built on the worker's machine, uploaded to the storage domain."""

import os
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from accounts.models import User
from accounts.permissions import require
from accounts.quotas import rules
from accounts.quotas.models import Resource
from events.log import record
from hosts.models import DataCenter
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register, submit
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus, StepStatus
from lab import debian_image
from lab.guest import GuestNotBuilt
from portal.errors import NotPossible
from portal.live import publish
from portal.verdict import YES, Verdict, no
from storage import observe as storage_observe
from storage.models import Disk, DiskStatus, StorageDomain, StorageKind, StorageStatus
from storage.on_host import link_for
from vms.guest.settings import SetUpBy
from vms.models import Template

TEMPLATE_NAME = "Debian 12"
MEMORY_MIB = 768
VCPUS = 2


def can_build() -> Verdict:
    """Whether this machine, and with it a worker beside it, can build the image."""
    if debian_image.path_of(settings.CACHE_DIR).exists():
        return YES
    if os.geteuid() != 0:
        return no("Vireo does not run as root here, which mmdebstrap needs.")
    if missing := debian_image.missing_tools():
        return no(f"Not installed here: {', '.join(missing)}.")
    return YES


def storage_for(data_center: DataCenter) -> StorageDomain | None:
    """The first active directory, a shared one before a local one."""
    kinds = (StorageKind.SHARED_DIR, StorageKind.LOCAL_DIR)
    active = StorageDomain.objects.filter(data_center=data_center, status=StorageStatus.ACTIVE, kind__in=kinds)
    return active.order_by("-kind", "-available_bytes").first()


def ask(user: User, data_center: DataCenter | None = None) -> tuple[Template, Job]:
    """The template's rows and the job that builds it. The name gets another version when there is one.

    Raises PermissionDenied, NotPossible.
    """
    place = data_center or DataCenter.objects.order_by("created_at").first()
    if place is None:
        raise NotPossible("There is no data center yet.")
    require(user, "template.create", place)
    if not (verdict := can_build()):
        raise NotPossible(verdict.reason)
    domain = storage_for(place)
    if domain is None:
        raise NotPossible(f"Data center {place} has no active storage domain that is a directory.")
    versions = Template.objects.filter(data_center=place, name__iexact=TEMPLATE_NAME)
    if versions.filter(disks__status=DiskStatus.LOCKED).exists():
        raise NotPossible(f"{TEMPLATE_NAME} is being built already.")
    last = versions.order_by("-version").values_list("version", flat=True).first() or 0
    with transaction.atomic():
        quota = rules.choose(user, place, None)
        template = Template.objects.create(
            name=TEMPLATE_NAME,
            version=last + 1,
            data_center=place,
            description="Debian's own packages with cloud-init and the guest agent: log in by SSH key.",
            memory_mib=MEMORY_MIB,
            vcpus=VCPUS,
            os="debian12",
            set_up_by=SetUpBy.CLOUD_INIT,
            sealed=True,
            rev=1,
        )
        disk = Disk(name=f"debian-12-v{template.version}", domain=domain, capacity_bytes=debian_image.DISK_BYTES, quota=quota)
        disk.status = DiskStatus.LOCKED
        rules.take(user, quota, [rules.Claim(Resource.STORAGE, disk.capacity_bytes, domain.pk)], subject="this template", obj=template)
        disk.save(force_insert=True)
        template.disks.add(disk)
        job = submit("template.debian", user=user, target=template, title=f"Build the template {TEMPLATE_NAME}", locks=[disk])
        record("template.asked", f"{user} asked for the template {TEMPLATE_NAME}", obj=template, user=user, job=job)
        publish("template", template.pk, "added", template.rev)
    return template, job


def _disk_of(ctx: Context) -> Disk:
    disk = Disk.objects.select_related("domain", "host__cluster").filter(templates=ctx.job.object_id).first()
    if disk is None or disk.domain is None:
        raise StepFailed("The template is gone.")
    return disk


def build(ctx: Context) -> None:
    try:
        debian_image.build(settings.CACHE_DIR, lambda share: ctx.progress(share, 1))
    except GuestNotBuilt as error:
        raise StepFailed("The image could not be built.", str(error)) from None


def upload(ctx: Context) -> None:
    """The image goes into a volume of the disk's name; a second try writes the same bytes again."""
    disk = _disk_of(ctx)
    assert disk.domain is not None
    host, link = link_for(disk)
    if disk.domain.kind == StorageKind.LOCAL_DIR:
        Disk.objects.filter(pk=disk.pk).update(host=host)
    source: Path = debian_image.path_of(settings.CACHE_DIR)
    if not source.exists():
        raise StepFailed("The image that was built is gone: start again.")
    try:
        pools.create_volume(link, disk.domain.pool_name, VolumeSpec(disk.volume_name, disk.capacity_bytes, disk.format))
    except AlreadyExists:
        ctx.log("The volume is there from an earlier try.")

    def progress(done: int, total: int) -> None:
        try:
            ctx.progress(done, total)
        finally:
            connection.close()  # this runs on the link's thread, which would keep a connection of its own open

    with source.open("rb") as file:
        pools.upload(link, disk.domain.pool_name, disk.volume_name, file, source.stat().st_size, progress)
    pools.refresh_pool(link, disk.domain.pool_name)
    info = pools.volume_info(link, disk.domain.pool_name, disk.volume_name)
    storage_observe.disk_ready(disk, info.path, info.allocation)
    publish("template", ctx.job.object_id, "changed")


def delete_volume(ctx: Context) -> None:
    disk = Disk.objects.select_related("domain", "host__cluster").filter(templates=ctx.job.object_id).first()
    if disk is not None and disk.domain is not None:
        _host, link = link_for(disk)
        pools.delete_volume(link, disk.domain.pool_name, disk.volume_name)


def _end(job: Job) -> None:
    """Nothing came of it: no row stays, but of a volume that could not be deleted."""
    template = Template.objects.filter(pk=job.object_id).first()
    if job.status == JobStatus.SUCCEEDED or template is None:
        return
    disks, left = list(template.disks.all()), job.steps.filter(status=StepStatus.UNDO_FAILED).exists()
    template.delete()
    for disk in disks:
        if left:
            storage_observe.disk_status(disk, DiskStatus.ILLEGAL)
        else:
            storage_observe.disk_removed(disk, job.user, job)
    publish("template", job.object_id, "removed")


register(
    "template.debian",
    [
        StepDef("build", "Build the image of Debian's packages", build, weight=20),
        StepDef("upload", "Upload it", upload, delete_volume, weight=5),
    ],
    on_end=_end,
)
