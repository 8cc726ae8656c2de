"""What can be done to the disks of a VM now, and why not. No queries."""

from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no
from storage.models import Disk, DiskStatus
from vms.models import VM, DiskBus, VmStatus

OFF = frozenset({VmStatus.DOWN})
ALIVE = frozenset(
    {
        VmStatus.UP,
        VmStatus.POWERING_UP,
        VmStatus.REBOOT_IN_PROGRESS,
        VmStatus.POWERING_DOWN,
        VmStatus.PAUSED,
        VmStatus.WAIT_FOR_LAUNCH,
        VmStatus.NOT_RESPONDING,
    }
)

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("attach", "Attach disk", "plus", "vm.edit", OFF | ALIVE),
        Action("resize", "Resize…", "arrows-maximize", "disk.edit", OFF | ALIVE),
        Action("limits", "Limits…", "adjustments", "vm.edit", OFF | ALIVE),
        Action("detach", "Detach", "plug-off", "vm.edit", OFF | ALIVE, danger=True),
    )
}


def check(action: str, vm: VM, *, busy: Job | None = None) -> Verdict:
    """Whether the VM lets its disks be changed so in its present state.

    Args:
        action: a key of ACTIONS.
        busy: the job that holds the VM's lock.
    """
    if busy is not None:
        return no(f"{vm.name} is busy: «{busy.title}» runs.")
    if vm.status not in ACTIONS[action].states:
        return no(f"{vm.name} is {vm.get_status_display().lower()}.")
    if action == "detach" and vm.status == VmStatus.PAUSED:
        return no(f"{vm.name} is paused: a guest lets go of a disk only while it runs. Resume it, or power it off.")
    return YES


def check_disk(vm: VM, disk: Disk, bus: str, *, others: list[str]) -> Verdict:
    """Whether this disk can be plugged into the VM.

    Args:
        others: names of the VMs, this one included, that have the disk.
    """
    if disk.status != DiskStatus.OK:
        return no(f"{disk.name} is {disk.get_status_display().lower()}.")
    if others and not disk.shareable:
        return no(f"{disk.name} is attached to {', '.join(others[:3])}; only a shareable disk can be in several VMs.")
    if vm.name in others:
        return no(f"{disk.name} is attached to {vm.name} already.")
    if disk.domain is None or disk.domain.data_center_id != vm.cluster.data_center_id:
        return no(f"{disk.name} lies in another data center than {vm.name}.")
    if disk.host_id is not None and vm.host_id is not None and disk.host_id != vm.host_id:
        return no(f"{disk.name} lies on {disk.host} alone, and {vm.name} is on {vm.host}.")
    return check_bus(vm, bus)


def check_bus(vm: VM, bus: str) -> Verdict:
    """Whether a disk can be plugged into that bus now."""
    if bus not in DiskBus.values:
        return no("Choose virtio, scsi or sata.")
    if bus == DiskBus.SATA and vm.status not in OFF:
        return no(f"SATA takes no disk while {vm.name} runs: choose another interface, or shut it down first.")
    return YES


def verdicts(vm: VM, permissions: frozenset[str], *, busy: Job | None = None) -> dict[str, Verdict | None]:
    """Each action's verdict; None: this user may never do it, so it is not shown."""
    return {name: check(name, vm, busy=busy) if action.permission in permissions else None for name, action in ACTIONS.items()}
