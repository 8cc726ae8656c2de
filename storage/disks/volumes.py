"""The volume of a disk: made, dropped, looked at. What jobs on disks share."""

from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, InvalidState, NotFound
from hypervisor.links import HostLink
from hypervisor.spec import VolumeSpec
from jobs.errors import NotNow, StepFailed
from storage import observe, on_host
from storage.models import Disk, StorageDomain


def domain_of(disk: Disk) -> StorageDomain:
    """Where the disk lies. Raises StepFailed for a foreign one."""
    if disk.domain is None:
        raise StepFailed(f"{disk.name} lies in no storage domain.")
    return disk.domain


def make(disk: Disk) -> None:
    """An empty volume. Its name is the disk's id, so one that is there is ours, from an earlier try."""
    _host, link = on_host.link_for(disk)
    try:
        pools.create_volume(link, domain_of(disk).pool_name, VolumeSpec(disk.volume_name, disk.capacity_bytes, disk.format))
    except AlreadyExists:
        return


def note(disk: Disk) -> None:
    """The volume is there: path and size go into the row, and the disk can be used."""
    info = look(disk)
    observe.disk_ready(disk, info.path, info.allocation)


def look(disk: Disk) -> pools.VolumeInfo:
    """The volume as a host has it. Raises NotFound."""
    _host, link = on_host.link_for(disk)
    pool = domain_of(disk).pool_name
    pools.glance(link, pool)
    try:
        return pools.volume_info(link, pool, disk.volume_name)
    except NotFound:
        pools.refresh_pool(link, pool)  # another host may have made it
        return pools.volume_info(link, pool, disk.volume_name)


def drop(link: HostLink, pool: str, name: str) -> None:
    """Missing is fine. Raises NotNow while the host still writes it."""
    try:
        pools.delete_volume(link, pool, name)
    except InvalidState as error:
        raise NotNow(f"The host still works on {name}: {error}", str(error)) from None


def drop_of(disk: Disk) -> None:
    """The disk's own volume."""
    _host, link = on_host.link_for(disk)
    drop(link, domain_of(disk).pool_name, disk.volume_name)
