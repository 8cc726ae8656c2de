"""From libvirt's states and events to the VM states of ours, each with its reason in words."""

from hypervisor.domain_state import DomainState
from hypervisor.domains import DomainRecord
from vms.models import VmStatus

# Why libvirt paused a domain.
PAUSE_REASONS = {
    "user": "paused by a user",
    "ioerror": "I/O error on a disk",
    "no space": "no space left on the storage domain",
    "watchdog": "the guest's watchdog fired",
    "snapshot": "a snapshot is being taken",
    "starting up": "started paused",
    "crashed": "the guest's kernel crashed",
    "postcopy": "a post-copy migration is under way",
    "postcopy failed": "a post-copy migration failed",
    "api error": "an operation of libvirt failed",
}
STOP_REASONS = {"crashed": "QEMU crashed", "failed": "QEMU ended with an error", "daemon": "the host's libvirtd found it gone"}
GUEST_CRASHED = "the guest crashed"
# A domain that ran when its host was last seen, and was never stopped since that host knows of it: the host was restarted.
HOST_RESTARTED = "it was off when its host was seen again"
# Ends that nobody asked for.
UNASKED_ENDS = frozenset({*STOP_REASONS.values(), GUEST_CRASHED, HOST_RESTARTED})

_COUNTED_AS_RUNNING = frozenset({VmStatus.UP, VmStatus.REBOOT_IN_PROGRESS, VmStatus.PAUSED, VmStatus.NOT_RESPONDING, VmStatus.UNKNOWN})

_EVENT_STATUS = {
    "suspended": VmStatus.PAUSED,
    "shutdown": VmStatus.POWERING_DOWN,
    "pmsuspended": VmStatus.SUSPENDED,
    "reboot": VmStatus.REBOOT_IN_PROGRESS,
}
# After these the guest has yet to boot; after the others it was running before.
_BOOTS = ("booted",)


def of_record(record: DomainRecord, before: str) -> tuple[VmStatus, str]:
    """The state that a domain's record shows.

    Args:
        before: the VM's status so far: a running domain that was powering up still is, until its guest shows up.
    """
    match record.state:
        case DomainState.RUNNING | DomainState.BLOCKED:
            transitional = (VmStatus.POWERING_UP, VmStatus.REBOOT_IN_PROGRESS, VmStatus.POWERING_DOWN, VmStatus.MIGRATING_FROM)
            return (VmStatus(before) if before in transitional else VmStatus.UP), ""
        case DomainState.PAUSED:
            if record.reason == "migration":
                return VmStatus.MIGRATING_FROM, ""
            return VmStatus.PAUSED, PAUSE_REASONS.get(record.reason, record.reason)
        case DomainState.SHUTDOWN:
            return VmStatus.POWERING_DOWN, ""
        case DomainState.PMSUSPENDED:
            return VmStatus.SUSPENDED, "the guest sleeps"
        case DomainState.CRASHED:
            return VmStatus.DOWN, GUEST_CRASHED
        case DomainState.SHUTOFF:
            if record.has_managed_save:
                return VmStatus.SUSPENDED, "its memory is saved on the host"
            if not record.reason and before in _COUNTED_AS_RUNNING:
                return VmStatus.DOWN, HOST_RESTARTED
            return VmStatus.DOWN, STOP_REASONS.get(record.reason, "")
        case _:
            return VmStatus.UNKNOWN, "libvirt does not know its state"


def of_event(kind: str, detail: str) -> tuple[VmStatus, str] | None:
    """The state that an event announces; None when the event says nothing about the state."""
    if kind == "started":
        return (VmStatus.POWERING_UP if detail in _BOOTS else VmStatus.UP), ""
    if kind == "resumed":
        return VmStatus.UP, ""
    if kind == "stopped" and detail == "migrated":
        return None  # it runs elsewhere, and that host tells
    if kind == "suspended" and detail == "migrated":
        return VmStatus.MIGRATING_FROM, ""
    if kind == "stopped":
        if detail == "saved":
            return VmStatus.SUSPENDED, "its memory is saved on the host"
        return VmStatus.DOWN, STOP_REASONS.get(detail, "")
    if kind == "crashed":
        return VmStatus.DOWN, GUEST_CRASHED
    if kind not in _EVENT_STATUS:
        return None
    reason = PAUSE_REASONS.get({"paused": "user", "ioerror": "ioerror"}.get(detail, detail), detail) if kind == "suspended" else ""
    return _EVENT_STATUS[kind], reason
