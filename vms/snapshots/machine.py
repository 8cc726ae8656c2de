"""What a VM was made of at a snapshot, as JSON, and how it is made so again."""

from typing import Any

from vms.models import VM, Template
from vms.spec import attachments_of, nics_of

_HARDWARE = ("memory_mib", "vcpus", "firmware", "os", "kernel", "initrd", "cmdline")


def describe(vm: VM) -> dict[str, Any]:
    """The hardware that the VM has now, its disks' slots and its NICs. Nothing secret is in it."""
    disks = [
        {"disk": str(each.disk_id) if each.disk_id else "", "target": each.target, "bus": each.bus, "device": each.device}
        for each in attachments_of(vm)
    ]
    nics = [{"name": each.name, "mac": each.mac, "model": each.model} for each in nics_of(vm)]
    return {field: getattr(vm, field) for field in _HARDWARE} | {"disks": disks, "nics": nics}


def apply(vm: VM | Template, machine: dict[str, Any]) -> list[str]:
    """Sets the hardware as it was; disks and NICs that a VM got or lost since stay as they are. Returns the fields to save."""
    fields = [field for field in _HARDWARE if field in machine]
    for field in fields:
        setattr(vm, field, machine[field])
    if isinstance(vm, VM):
        vm.next_run = {}
        fields.append("next_run")
    return fields


def other_devices(vm: VM, machine: dict[str, Any]) -> str:
    """Why memory that was saved with this machine cannot go on in the VM as it is: "" when it can."""
    now = describe(vm)
    if machine.get("disks") != now["disks"]:
        return "its disks and CD drives are others now"
    if machine.get("nics") != now["nics"]:
        return "its network interfaces are others now"
    return ""
