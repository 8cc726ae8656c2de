"""Do guests of a silent host still write to their disks? Another host that has the same storage sees it, through its libvirt."""

import time
from collections.abc import Callable

from hosts.connect import link_of
from hosts.models import Host
from hypervisor import storage
from hypervisor.errors import HypervisorError, NotFound
from hypervisor.links import HostLink

# A guest that runs writes down what it changed within 5 s, as nearly every file system does.
WATCH_SECONDS = 7.0


def written(host: Host, pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Names of the VMs whose disk files changed while we watched. Disks that no other host sees as files say nothing."""
    before = _times(host)
    if not before:
        return []
    pause(WATCH_SECONDS)
    after = _times(host)
    return sorted({vm for (vm, disk), at in after.items() if before.get((vm, disk), at) != at})


def _times(host: Host) -> dict[tuple[str, str], str]:
    """When each disk file was last written to: (VM, disk) -> as the file system says."""
    from storage.on_host import hosts_with  # storage and vms build on hosts
    from vms.models import DiskAttachment

    found: dict[tuple[str, str], str] = {}
    disks = DiskAttachment.objects.filter(vm__host=host, device="disk", read_only=False, disk__domain__isnull=False, disk__host=None)
    for attachment in disks.exclude(vm__status="down").select_related("vm", "disk__domain"):
        disk = attachment.disk
        assert disk is not None and disk.domain is not None  # by the filter
        for other in hosts_with(disk.domain):
            if other.pk == host.pk:
                continue
            try:
                at = _written_at(link_of(other), disk.domain.pool_name, disk.volume_name)
            except HypervisorError:
                continue
            if at:
                found[attachment.vm.name, str(disk.pk)] = at
            break
    return found


def _written_at(link: HostLink, pool: str, volume: str) -> str:
    """A host learns of a volume that another made when it looks at its pool."""
    try:
        return storage.written_at(link, pool, volume)
    except NotFound:
        storage.refresh_pool(link, pool)
        return storage.written_at(link, pool, volume)
