"""Whether a VM's disks have locks by which other hosts can tell that it runs."""

from storage import locks
from vms.models import VM


def why_not(vm: VM) -> str:
    """Why its disks' locks cannot decide. Empty when all of its disks lie where QEMU's locks hold across hosts, and end with a host that is gone."""
    attachments = vm.attachments.filter(device="disk", disk__isnull=False, read_only=False).select_related("disk__domain")
    disks = [attachment.disk for attachment in attachments if attachment.disk is not None]
    if not disks:
        return f"{vm.name} has no disk whose lock could tell that it runs."
    for disk in disks:
        if disk.shareable:
            return f"{disk.name} may be open at several VMs at once: it has no lock."
        if disk.domain is None or disk.host_id is not None:
            return f"{disk.name} does not lie in a shared file system, whose locks other hosts see."
        if reason := locks.why_unknown(disk.domain):
            return reason
    return ""
