"""Taking in what lies on a storage already: a scan lists volumes that are no disks of ours, and those chosen become disks."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.models import User
from accounts.permissions import allowed, require
from events.log import record
from hosts.connect import link_of
from hosts.models import Host
from hypervisor import storage as pools
from jobs.engine import Context
from jobs.errors import StepFailed
from portal.errors import NotPossible
from portal.live import publish
from portal.names import plain
from storage import on_host
from storage.disks import strays
from storage.domains import ensure
from storage.models import Disk, DiskContent, DiskStatus, FoundVolume, StorageDomain
from vms.models import Layer
from vms.records.models import FoundVm
from vms.records.volumes import keeper_of

_HEAD_BYTES = 512
_QCOW2 = b"QFI\xfb"
_DATA_FILE_BIT = 1 << 2
LONGEST_LIST = 5000


def scan(ctx: Context) -> None:
    """Writes down every volume of the job's domain that is no disk of ours. What an earlier scan found is replaced."""
    from vms.records import reading as records  # what checks them is 9 MiB, which the watcher need not load

    domain = StorageDomain.objects.get(pk=ctx.job.object_id)
    hosts = on_host.hosts_with(domain)
    if not hosts:
        raise StepFailed(f"{domain.name} is active on no host that is up.")
    found: list[FoundVolume] = []
    vms: list[FoundVm] = []
    looked = hosts[:1] if domain.is_shared else hosts
    for index, host in enumerate(looked):
        ctx.progress(index, len(looked))
        seen, volumes = _on_host(domain, host)
        found += seen
        if domain.is_shared and domain.traits.files:
            vms += records.look(ctx, domain, link_of(host), volumes)
    records.judge(domain, vms, found[:LONGEST_LIST])
    with transaction.atomic():
        domain.found.all().delete()
        domain.found_vms.all().delete()
        FoundVolume.objects.bulk_create(found[:LONGEST_LIST], batch_size=500)
        FoundVm.objects.bulk_create(vms, batch_size=500)
    publish("storage_domain", domain.pk, "changed", domain.rev, {"status": domain.status})
    usable = sum(not volume.refusal for volume in found)
    ctx.log(f"{len(found)} volumes are no disks of Vireo's, and {usable} of them can be taken in.")
    if vms:
        ctx.log(f"The records there tell of {len(vms)} VMs that are none of Vireo's.")


def _on_host(domain: StorageDomain, host: Host) -> tuple[list[FoundVolume], list[pools.VolumeInfo]]:
    link, owner = link_of(host), None if domain.is_shared else host
    # What is made meanwhile is known after the look, what is deleted meanwhile is known before it.
    before, ids = strays.expected(domain, owner), strays.owners(domain, owner)
    pools.refresh_pool(link, domain.pool_name)
    volumes = pools.list_volumes(link, domain.pool_name)
    known = _known(domain, owner)
    ids |= strays.owners(domain, owner)
    strays.mark_missing(domain, owner, before, {volume.name for volume in volumes})
    paths = {volume.path for volume in volumes}
    found = []
    for volume in volumes:
        if volume.name in known or strays.is_owned(volume.name, ids) or _is_own_record(domain, volume.name):
            continue
        if not volume.capacity and not domain.traits.files:  # a target's LUN 0 is often its controller
            continue
        reason = _refusal(domain, volume, paths)
        if not reason and volume.format == "qcow2":
            reason = _external_data(pools.read_volume(link, domain.pool_name, volume.name, _HEAD_BYTES))
        found.append(
            FoundVolume(
                domain=domain,
                host=owner,
                name=volume.name[:255],
                path=volume.path[:1024],
                format="raw" if volume.format in ("iso", "unknown") else volume.format[:8],
                capacity_bytes=volume.capacity,
                allocated_bytes=volume.allocation,
                backing_path=volume.backing_path[:1024],
                refusal=reason,
            )
        )
    return found, volumes


def _is_own_record(domain: StorageDomain, name: str) -> bool:
    keeper = keeper_of(name)
    return keeper is not None and keeper[0] == str(domain.pk)


def _known(domain: StorageDomain, host: Host | None) -> set[str]:
    ours = Disk.objects.filter(domain=domain) if host is None else Disk.objects.filter(domain=domain, host=host)
    layers = Layer.objects.filter(disk__in=ours).values_list("volume", flat=True)
    return {disk.volume_name for disk in ours} | set(layers)


def _refusal(domain: StorageDomain, volume: pools.VolumeInfo, paths: set[str]) -> str:
    """Why a volume cannot be a disk of ours. Nothing of it was opened for that but by libvirt, which reads its head."""
    if len(volume.name) > 255 or len(volume.path) > 1024 or plain(volume.name) != volume.name:
        return "its name cannot be written"
    if keeper_of(volume.name) is not None:
        return "it tells of the VMs of another Vireo"
    if volume.format not in ("qcow2", "raw", "iso", "unknown"):
        return "it is a directory" if volume.format == "dir" else f"its format is {volume.format[:20]}: import it as an image instead"
    if volume.format == "qcow2" and not domain.traits.files:
        return "it says that it is qcow2, and disks here are raw"
    if volume.backing_path and volume.backing_path not in paths:
        return f"it builds on {volume.backing_path[:200]}, which is no volume of this domain"
    return ""


def _external_data(head: bytes) -> str:
    """A qcow2 may keep its data in another file, which libvirt does not tell: it could be any file of the host."""
    if not head.startswith(_QCOW2) or len(head) < 80 or int.from_bytes(head[4:8], "big") < 3:
        return ""
    return "it keeps its data in a file elsewhere" if int.from_bytes(head[72:80], "big") & _DATA_FILE_BIT else ""


def take_in(user: User, domain: StorageDomain, chosen: Iterable[int]) -> list[Disk]:
    """Makes disks of found volumes; what lies in them is not touched.

    Args:
        chosen: ids of FoundVolume rows of this domain; others are passed over.

    Raises:
        PermissionDenied; NotPossible: none chosen, one that is refused, or one whose backing volume is neither known nor chosen.
    """
    require(user, "storage_domain.edit", domain)
    if not allowed(user, "disk.create", domain):
        raise PermissionDenied("You may not create disks here.")
    ensure("take-in", domain)
    with transaction.atomic():
        StorageDomain.objects.select_for_update().get(pk=domain.pk)  # two at once would take the same volume
        found = list(domain.found.filter(pk__in=list(chosen)).select_related("host"))
        if not found:
            raise NotPossible("Choose what to take in.")
        for volume in found:
            if volume.refusal:
                raise NotPossible(f"{volume.name} cannot be taken in: {volume.refusal}.")
        return adopt_volumes(user, domain, found)


def adopt_volumes(
    user: User, domain: StorageDomain, found: list[FoundVolume], known: Mapping[str, tuple[UUID, str]] | None = None
) -> list[Disk]:
    """Makes disks of them, in the caller's transaction, which has locked the domain's row.

    Args:
        known: volume -> id and name that the disk had; the id is kept if it is free.

    Raises:
        NotPossible: one builds on a volume that is neither a disk nor among them.
    """
    disks = _in_order(domain, found, known or {})
    FoundVolume.objects.filter(pk__in=[volume.pk for volume in found]).delete()
    for disk in disks:
        publish("disk", disk.pk, "added", disk.rev, {"status": disk.status})
        record("disk.imported", f"Disk {disk.name} was taken in from {domain.name}", obj=disk, user=user)
    return disks


def _in_order(domain: StorageDomain, found: list[FoundVolume], was: Mapping[str, tuple[UUID, str]]) -> list[Disk]:
    """Each after what it builds on."""
    known = {(disk.host_id, disk.path): disk for disk in Disk.objects.filter(domain=domain)}
    made, waiting = [], found
    while waiting:
        ready = [volume for volume in waiting if not volume.backing_path or (volume.host_id, volume.backing_path) in known]
        if not ready:
            first = waiting[0]
            raise NotPossible(f"{first.name} builds on {PurePosixPath(first.backing_path).name}: take that in with it.")
        for volume in ready:
            disk = _disk_of(domain, volume, known.get((volume.host_id, volume.backing_path)))
            key, name = was.get(volume.name, (_id_in(volume.name), ""))
            if key is not None and not Disk.objects.filter(pk=key).exists():
                disk.pk = key
            disk.name = plain(name) or disk.name
            disk.save(force_insert=True)
            known[volume.host_id, volume.path] = disk
            made.append(disk)
        waiting = [volume for volume in waiting if volume not in ready]
    return made


def _id_in(volume: str) -> UUID | None:
    """We call volumes by the ids of disks: one that comes back is known again by records that name it."""
    try:
        return UUID(PurePosixPath(volume).stem)
    except ValueError:
        return None


def _disk_of(domain: StorageDomain, volume: FoundVolume, backing: Disk | None) -> Disk:
    is_iso = domain.traits.files and volume.name.lower().endswith(".iso")
    return Disk(
        name=(volume.name if is_iso else PurePosixPath(volume.name).stem) or volume.name,
        domain=domain,
        host=volume.host,
        path=volume.path,
        volume=volume.name,
        content=DiskContent.ISO if is_iso else DiskContent.DATA,
        format=volume.format,
        capacity_bytes=volume.capacity_bytes,
        allocated_bytes=volume.allocated_bytes,
        status=DiskStatus.OK,
        backing=backing,
    )
