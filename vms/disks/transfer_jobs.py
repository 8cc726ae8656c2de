"""The jobs that move and copy disks. See vms.disks.transfer for what holds whatever happens."""

import time
from dataclasses import dataclass

from django.db import transaction

from hosts.connect import link_of
from hosts.models import Host
from hypervisor import disks as live
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, HypervisorError
from hypervisor.links import HostLink
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register
from jobs.errors import NotNow, StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus, StepStatus
from storage import observe, on_host
from storage.disks import volumes
from storage.models import Disk, DiskStatus, StorageDomain
from vms.disks.jobs import redefine
from vms.disks.use import alive_attachments
from vms.models import DiskAttachment
from vms.steps import copy_volume, link_to

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Place:
    """Where a volume lies: a storage domain, and a host's own directory of it where it is local."""

    domain: StorageDomain
    host: Host | None
    name: str

    @property
    def path(self) -> str:
        return f"{self.domain.path}/{self.name}"

    def link(self) -> HostLink:
        """A host that reaches it. Raises NotNow."""
        for host in on_host.hosts_with(self.domain):
            if self.host is None or host.pk == self.host.pk:
                return link_of(host)
        raise NotNow(f"Storage domain {self.domain.name} is not active on {self.host or 'any host that is up'}.")

    def drop(self) -> None:
        volumes.drop(self.link(), self.domain.pool_name, self.name)


def _disk(ctx: Context, key: str = "") -> Disk:
    found = Disk.objects.select_related("domain", "host__cluster").filter(pk=key or ctx.job.object_id).first()
    if found is None:
        raise StepFailed(f"{ctx.job.object_name} is gone.")
    return found


def _place(ctx: Context, which: str, disk: Disk) -> Place:
    domain_id, host_id = ctx.params[which]
    domain = StorageDomain.objects.filter(pk=domain_id).first()
    if domain is None:
        raise StepFailed("The storage domain is gone.")
    host = Host.objects.select_related("cluster").filter(pk=host_id).first() if host_id else None
    return Place(domain, host, disk.volume_name)


def _both(*places: Place) -> HostLink:
    """A host that reaches all of these. Raises NotNow."""
    for host in on_host.hosts_with(places[0].domain):
        if all(_reaches(host, place) for place in places):
            return link_of(host)
    raise NotNow(f"No host that is up reaches both {places[0].domain.name} and {places[-1].domain.name}.")


def _reaches(host: Host, place: Place) -> bool:
    if place.host is not None and place.host.pk != host.pk:
        return False
    return any(found.pk == host.pk for found in on_host.hosts_with(place.domain))


def bring(ctx: Context, source: Disk, target: Place, made: Disk) -> None:
    """The content of `source` to the target: by the hypervisor while a VM runs with it, else by libvirt."""
    alive = alive_attachments(source)
    if len(alive) > 1:
        raise StepFailed(f"{source.name} is in use by several running VMs: shut down all but one.")
    if alive:
        mirror(ctx, alive[0], target, made)
        return
    assert source.domain is not None
    link = _both(Place(source.domain, source.host, source.volume_name), target)
    copy_volume(ctx, link, target.domain.pool_name, source, VolumeSpec(made.volume_name, source.capacity_bytes, made.format))


def mirror(ctx: Context, attachment: DiskAttachment, target: Place, made: Disk) -> None:
    """Returns when all is copied and both sides stay alike. One that a dead worker began goes on."""
    link, uuid, slot = link_to(attachment.vm), str(attachment.vm.pk), attachment.target
    found = live.mirror_of(link, uuid, slot)
    if found is None:
        if live.source_of(link, uuid, slot) == target.path:
            return  # it went over already
        _empty_volume(link, target, made)
        live.start_mirror(link, uuid, slot, target.path, made.format)
    elif found.path != target.path:
        raise StepFailed(f"{attachment.vm.name} copies {slot} to {found.path} already.")
    while True:
        found = live.mirror_of(link, uuid, slot)
        if found is None:
            raise StepFailed(f"The copy of {slot} broke off on {attachment.vm.host}: is there space left in {target.domain.name}?")
        if found.ready:
            return
        ctx.progress(found.done, found.total)
        time.sleep(POLL_SECONDS)


def _empty_volume(link: HostLink, target: Place, made: Disk) -> None:
    """Anew when one is there: half a copy is no beginning of another."""
    pool, spec = target.domain.pool_name, VolumeSpec(made.volume_name, made.capacity_bytes, made.format)
    try:
        pools.create_volume(link, pool, spec)
    except AlreadyExists:
        volumes.drop(link, pool, made.volume_name)
        pools.create_volume(link, pool, spec)


def end_mirrors(disk: Disk, path: str) -> None:
    """No running VM of the disk goes on copying to that file."""
    for attachment in alive_attachments(disk):
        link, uuid = link_to(attachment.vm), str(attachment.vm.pk)
        found = live.mirror_of(link, uuid, attachment.target)
        if found is not None and found.path == path:
            live.end_mirror(link, uuid, attachment.target, pivot=False)


def _move_content(ctx: Context) -> None:
    disk = _disk(ctx)
    if not _is_at(disk, *ctx.params["to"]):
        bring(ctx, disk, _place(ctx, "to", disk), disk)


def _is_at(disk: Disk, domain_id: str, host_id: str) -> bool:
    return str(disk.domain_id) == domain_id and str(disk.host_id or "") == host_id


def _switch(ctx: Context) -> None:
    """The domain goes over, then the row, then the definition."""
    disk = _disk(ctx)
    target = _place(ctx, "to", disk)
    for attachment in alive_attachments(disk):
        link, uuid = link_to(attachment.vm), str(attachment.vm.pk)
        if live.source_of(link, uuid, attachment.target) != target.path:
            live.end_mirror(link, uuid, attachment.target, pivot=True)
    _write_place(disk, target)
    _redefine_all(disk)


def _write_place(disk: Disk, place: Place) -> None:
    """The row says where the disk lies. A full copy builds on nothing."""
    with transaction.atomic():
        disk.domain, disk.host, disk.path, disk.backing = place.domain, place.host, place.path, None
        disk.save(update_fields=["domain", "host", "path", "backing", "updated_at"])


def _redefine_all(disk: Disk) -> None:
    for attachment in disk.attachments.select_related("vm__host__cluster", "vm__cluster", "vm__owner"):
        redefine(attachment.vm)


def _keep_what_runs(ctx: Context) -> None:
    """A running VM that went over cannot go back: then the row follows it. A disk that no VM runs with stays where its row says."""
    disk = _disk(ctx)
    target = _place(ctx, "to", disk)
    for attachment in alive_attachments(disk):
        if live.source_of(link_to(attachment.vm), str(attachment.vm.pk), attachment.target) == target.path:
            _write_place(disk, target)
    _redefine_all(disk)


def tidy(ctx: Context) -> None:
    """Deletes the volume at the end that the row does not name."""
    disk = _disk(ctx)
    origin, target = _place(ctx, "from", disk), _place(ctx, "to", disk)
    moved = _is_at(disk, *ctx.params["to"])
    if not moved:
        end_mirrors(disk, target.path)
    (origin if moved else target).drop()


def _delete_origin(ctx: Context) -> None:
    """The disk is moved: a file that cannot be deleted now does not undo it. A scan of the storage domain finds it."""
    disk = _disk(ctx)
    try:
        _place(ctx, "from", disk).drop()
    except (HypervisorError, StepFailed) as error:
        ctx.log(f"The old volume is left behind: {error}")
    try:
        volumes.note(disk)
    except HypervisorError as error:
        ctx.log(f"Its space is not known yet: {error}")


def _copy_content(ctx: Context) -> None:
    source, made = _disk(ctx, ctx.params["source"]), _disk(ctx)
    target = _place(ctx, "to", made)
    bring(ctx, source, target, made)
    end_mirrors(source, target.path)  # what the guest writes from here on is no longer the copy's


def _drop_copy(ctx: Context) -> None:
    made = Disk.objects.select_related("domain", "host").filter(pk=ctx.job.object_id).first()
    source = Disk.objects.filter(pk=ctx.params["source"]).first()
    if made is None:
        return
    target = _place(ctx, "to", made)
    if source is not None:
        end_mirrors(source, target.path)
    target.drop()


def _copied(ctx: Context) -> None:
    volumes.note(_disk(ctx))


def _copy_ended(job: Job) -> None:
    made = Disk.objects.filter(pk=job.object_id).first()
    if made is None or job.status == JobStatus.SUCCEEDED:
        return
    if job.steps.filter(status=StepStatus.UNDO_FAILED).exists():
        observe.disk_status(made, DiskStatus.ILLEGAL)
    else:
        observe.disk_removed(made, job.user, job)


register(
    "disk.move",
    [
        StepDef("copy", "Copy the content", _move_content, tidy, weight=20),
        StepDef("switch", "Go over to the copy", _switch, _keep_what_runs),
        StepDef("delete", "Delete the old volume", _delete_origin),
    ],
)
register(
    "disk.copy",
    [StepDef("copy", "Copy the content", _copy_content, _drop_copy, weight=20), StepDef("ready", "Take into use", _copied)],
    on_end=_copy_ended,
)
