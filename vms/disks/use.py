"""Which domains really use a disk now: asked of the hosts, not of what we last saw."""

from storage.models import Disk
from vms.models import DiskAttachment
from vms.steps import is_alive


def alive_attachments(disk: Disk) -> list[DiskAttachment]:
    """The slots of those VMs that have the disk and run, be they paused. Raises HostUnreachable: then nobody knows."""
    found = disk.attachments.select_related("vm__host__cluster", "vm__cluster", "vm__owner", "disk").order_by("vm__name")
    return [attachment for attachment in found if attachment.vm.host is not None and is_alive(attachment.vm)]
