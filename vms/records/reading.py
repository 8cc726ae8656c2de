"""Looks for VMs in the records that lie on a storage domain. Called by its scan."""

from collections.abc import Iterable

from hypervisor import storage as pools
from hypervisor.errors import HypervisorError
from hypervisor.links import HostLink
from jobs.context import Context
from storage.models import Disk, FoundVolume, StorageDomain
from vms.models import VM
from vms.records import manifest
from vms.records.manifest import Unreadable, VmRecord
from vms.records.models import FoundVm
from vms.records.volumes import keeper_of

MOST_TOLD = 20  # of the odd ones, in a scan's log

def look(ctx: Context, domain: StorageDomain, link: HostLink, volumes: Iterable[pools.VolumeInfo]) -> list[FoundVm]:
    """The VMs that this Vireo does not have, of the newest whole records of each Vireo that wrote some. `refusal` is still empty."""
    found: dict[str, VmRecord] = {}
    for name in _newest_first(volumes):
        capacity = next(volume.capacity for volume in volumes if volume.name == name)
        try:
            records, odd = manifest.decode(pools.read_volume(link, domain.pool_name, name, min(capacity, manifest.LARGEST)))
            found = {str(record.id): record for record in records} | found
            for reason in odd[:MOST_TOLD]:
                ctx.log(f"The records {name} tell of a machine that cannot be taken in. {reason}.")
        except (Unreadable, HypervisorError) as error:
            ctx.log(f"The records {name} cannot be read: {error}.")
    ours = {str(key) for key in VM.objects.filter(pk__in=found).values_list("pk", flat=True)} if found else set()
    return [
        FoundVm(domain=domain, vm_id=record.id, name=record.name, record=record.model_dump(mode="json"))
        for key, record in found.items()
        if key not in ours
    ]


def _newest_first(volumes: Iterable[pools.VolumeInfo]) -> list[str]:
    kept = [(keeper[1], volume.name) for volume in volumes if (keeper := keeper_of(volume.name)) is not None]
    return [name for _serial, name in sorted(kept, reverse=True)]


def judge(domain: StorageDomain, vms: list[FoundVm], volumes: Iterable[FoundVolume]) -> None:
    """Writes into each why it cannot be taken in."""
    here = {volume.name: volume for volume in volumes}
    for vm in vms:
        vm.refusal = why_not(domain, VmRecord.model_validate(vm.record), here)


def why_not(domain: StorageDomain, record: VmRecord, here: dict[str, FoundVolume]) -> str:
    """In a clause; empty when each of its disks lies here as a volume that can be taken in, or is a free disk of ours already."""
    if record.kernel:
        return "it boots a kernel that lay on its host"
    if len({disk.target for disk in record.disks} | set(record.drives)) < len(record.disks) + len(record.drives):
        return "two of its disks have the same slot"
    for disk in record.disks:
        volume = here.get(disk.volume)
        if volume is not None and not volume.refusal:
            continue
        if volume is not None:
            return f"its disk {disk.name} cannot be taken in: {volume.refusal}"
        ours = Disk.objects.filter(pk=disk.id, domain__data_center=domain.data_center_id).first()
        if ours is None:
            return f"its disk {disk.name} does not lie here: take it in from its own storage domain first"
        if ours.attachments.exists():
            return f"its disk {disk.name} is another VM's now"
    return ""
