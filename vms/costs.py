"""What choosing a template would take of a quota, for the page to add to what is used before anything is sent."""

import json

from vms.models import Template


def attributes_of(template: Template | None) -> dict[str, str]:
    """Attributes of a template's card: amounts by resource, and the storage domain that its disks would lie in.

    None is a blank VM: its disk is a field of the form. No query where the template's disks are prefetched.
    """
    cost = {"vms": 1}
    if template is None:
        return {"data-cost": json.dumps(cost), "data-storage": ""}
    disks = sorted(template.disks.all(), key=lambda disk: disk.name)
    cost |= {"vcpus": template.vcpus, "memory_mib": template.memory_mib, "storage_bytes": sum(disk.capacity_bytes for disk in disks)}
    return {"data-cost": json.dumps(cost), "data-storage": str(disks[0].domain_id) if disks else ""}
