"""What the guest agent of a VM can do now, and why not. Pages, the API and jobs all ask here. No queries: load `host` with the VM."""

from datetime import datetime

from django.utils import timezone

from hosts.models import HostStatus
from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no
from vms.can import _RUNNING
from vms.guest.models import GuestReport
from vms.models import VM, VmStatus

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("look", "Look again", "refresh", "vm.console", group="look"),
        Action("time", "Set its clock", "clock", "vm.edit", group="change"),
        Action("password", "Set a password…", "key", "vm.edit", group="change"),
        Action("freeze", "Freeze filesystems…", "player-pause", "vm.edit", group="freeze"),
        Action("thaw", "Thaw filesystems", "player-play", "vm.edit", group="freeze"),
        Action("seal", "Seal and shut down", "template", "vm.edit", group="seal", danger=True),
    )
}


def is_windows(vm: VM) -> bool:
    return "windows" in vm.guest_os.lower()


def frozen_until(report: GuestReport | None) -> datetime | None:
    return report.frozen_until if report is not None else None


def check(action: str, vm: VM, report: GuestReport | None, *, busy: Job | None = None) -> Verdict:
    """Whether the agent can do the action now.

    Args:
        action: a key of ACTIONS.
        report: the VM's, None when its agent never told.
        busy: the job that holds the VM's lock, if any.
    """
    frozen = frozen_until(report)
    if busy is not None:
        return no(f"{vm.name} is busy: «{busy.title}» runs.")
    if vm.status == VmStatus.UNKNOWN:
        return no(f"{vm.host.name if vm.host else 'Its host'} does not answer.")
    if vm.status not in _RUNNING:
        return no(f"{vm.name} is not running.")
    if vm.host is None or vm.host.status not in (HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.PREPARING_FOR_MAINTENANCE):
        return no(f"The host of {vm.name} is not up.")
    if "agent" not in vm.host.capabilities.get("features", ()):
        return no(f"The driver of {vm.host.name} ({vm.host.driver or 'unknown'}) has no guest agent.")
    if action == "thaw":
        return YES if frozen else no("Its filesystems are not frozen.")
    if frozen:
        return no(f"Its filesystems are frozen until {timezone.localtime(frozen):%H:%M:%S}; the agent does nothing but thaw them.")
    if action != "look" and not (vm.guest_hostname or vm.guest_os):
        return no(f"The guest agent of {vm.name} does not answer: install qemu-guest-agent in the guest, or wait until it has booted.")
    if action == "seal" and is_windows(vm):
        return no("Windows is sealed from inside: run «sysprep /generalize /oobe /shutdown» there.")
    return YES


def verdicts(vm: VM, report: GuestReport | None, permissions: frozenset[str], *, busy: Job | None = None) -> dict[str, Verdict | None]:
    """Each action's verdict, in order; None: this user may never do it."""
    return {name: check(name, vm, report, busy=busy) if action.permission in permissions else None for name, action in ACTIONS.items()}
