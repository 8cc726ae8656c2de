"""What a VM can do now, and why not. Pages, the API and jobs all ask here. No queries: load `host` with the VM."""

from django.utils import timezone

from hosts.models import HostStatus
from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no
from vms.models import VM, VmStatus

_OFF = frozenset({VmStatus.DOWN, VmStatus.SUSPENDED})
_RUNNING = frozenset({VmStatus.UP, VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS})
_ALIVE = _RUNNING | {VmStatus.PAUSED, VmStatus.POWERING_DOWN, VmStatus.NOT_RESPONDING, VmStatus.WAIT_FOR_LAUNCH}

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("start", "Run", "player-play", "vm.start", _OFF, "run"),
        Action("resume", "Resume", "player-play", "vm.pause", frozenset({VmStatus.PAUSED}), "run"),
        Action("console", "Console", "device-desktop", "vm.console", _ALIVE, "run"),
        Action("shutdown", "Shut down", "power", "vm.stop", _RUNNING, "run"),
        Action("start_paused", "Start paused", "player-pause", "vm.start", frozenset({VmStatus.DOWN}), "start"),
        Action("run_once", "Run once…", "player-track-next", "vm.start", frozenset({VmStatus.DOWN}), "start"),
        Action("pause", "Pause", "player-pause", "vm.pause", _RUNNING, "state"),
        Action("reboot", "Reboot", "refresh", "vm.reboot", _RUNNING, "state"),
        Action("migrate", "Migrate…", "arrows-exchange", "vm.migrate", frozenset({VmStatus.UP, VmStatus.POWERING_UP}), "state"),
        Action("edit", "Edit", "pencil", "vm.edit", frozenset(), "change"),
        Action("template", "Make template…", "template", "vm.edit", frozenset({VmStatus.DOWN}), "change"),
        Action("reset", "Reset", "rotate", "vm.reboot", _ALIVE, "force", danger=True),
        Action("poweroff", "Power off", "plug-off", "vm.stop", _ALIVE, "force", danger=True),
        Action("remove", "Remove…", "trash", "vm.delete", frozenset({VmStatus.DOWN}), "remove", danger=True),
    )
}
# Needs the host's driver to have this feature (hypervisor.capabilities).
_FEATURES = {"console": "display", "start_paused": "start-paused", "migrate": "migrate"}
_STARTS = frozenset({"start", "start_paused", "run_once"})
# What only touches our own rows works while a job runs or the host is away.
_ROWS_ONLY = frozenset({"edit"})

_WHY = {
    ("start", "running"): "{vm} is running already.",
    ("start_paused", "running"): "{vm} is running already.",
    ("run_once", "running"): "{vm} is running already.",
    ("shutdown", "off"): "{vm} is not running.",
    ("poweroff", "off"): "{vm} is not running.",
    ("reboot", "off"): "{vm} is not running.",
    ("reset", "off"): "{vm} is not running.",
    ("pause", "off"): "{vm} is not running.",
    ("migrate", "off"): "{vm} is not running: when it starts, the scheduler chooses its host.",
    ("migrate", "paused"): "{vm} is paused: resume it first.",
    ("console", "off"): "{vm} is not running: there is nothing to see.",
    ("resume", "off"): "{vm} is not paused.",
    ("resume", "running"): "{vm} is not paused.",
    ("start", "paused"): "{vm} is paused: resume it.",
    ("remove", "paused"): "Power {vm} off first.",
    ("template", "paused"): "Power {vm} off first.",
    ("remove", "running"): "Power {vm} off first.",
    ("template", "running"): "Shut {vm} down first.",
}


def check(action: str, vm: VM, *, busy: Job | None = None) -> Verdict:
    """Whether the VM can do the action in its present state.

    Args:
        action: a key of ACTIONS.
        busy: the job that holds the VM's lock, if any (jobs.engine.holder_of).
    """
    known = ACTIONS[action]
    if action in _ROWS_ONLY:
        return no(f"{vm.name} is being made.") if vm.status == VmStatus.IMAGE_LOCKED else YES
    if busy is not None and action != "console":
        return no(f"{vm.name} is busy: «{busy.title}» runs.")
    if action in _STARTS and vm.expires_at is not None and vm.expires_at <= timezone.now():
        return no(f"The time of {vm.name} ended on {vm.expires_at:%Y-%m-%d}: prolong it first.")
    if action == "remove" and vm.delete_protected:
        return no(f"{vm.name} is protected against removal; take the protection off under Edit.")
    if vm.status not in known.states:
        return no(_reason(action, vm))
    return _host_can(action, vm)


def _reason(action: str, vm: VM) -> str:
    if vm.status == VmStatus.UNKNOWN:
        where = vm.host.name if vm.host else "its host"
        return f"{where} does not answer, so nobody knows whether {vm.name} runs."
    state = "off" if vm.status in _OFF else "paused" if vm.status == VmStatus.PAUSED else "running" if vm.status in _ALIVE else ""
    sentence = _WHY.get((action, state))
    return sentence.format(vm=vm.name) if sentence else f"{vm.name} is {vm.get_status_display().lower()}."


def _host_can(action: str, vm: VM) -> Verdict:
    host = vm.host
    if host is None:
        return YES  # it is defined nowhere yet: the scheduler will choose
    usable = {HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.PREPARING_FOR_MAINTENANCE}
    if action in _STARTS:
        # At rest, or known to be off: the scheduler may take the VM elsewhere; when it cannot, it says why.
        usable |= {HostStatus.MAINTENANCE, HostStatus.DOWN}
    if host.status not in usable:
        return no(f"Its host {host.name} is {host.get_status_display().lower()}.")
    feature = _FEATURES.get(action) if host.status != HostStatus.DOWN else None
    if feature and feature not in host.capabilities.get("features", ()):
        return no(f"The driver of {host.name} ({host.driver or 'unknown'}) cannot do this.")
    return YES


def verdicts(vm: VM, permissions: frozenset[str], *, busy: Job | None = None) -> dict[str, Verdict | None]:
    """Each action's verdict, in menu order; None: this user may never do it, so it is not shown."""
    return {name: check(name, vm, busy=busy) if action.permission in permissions else None for name, action in ACTIONS.items()}
