"""libvirt's domain states and reasons in words."""

from enum import StrEnum

import libvirt


class DomainState(StrEnum):
    """libvirt's own states."""

    NOSTATE = "nostate"
    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    SHUTOFF = "shutoff"
    CRASHED = "crashed"
    PMSUSPENDED = "pmsuspended"


_STATES = {getattr(libvirt, f"VIR_DOMAIN_{state.name}"): state for state in DomainState}


def constants(prefix: str, without: str = "") -> dict[int, str]:
    """{number: "from snapshot"} of libvirt's VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT and the like, but for names that begin with `without`."""
    return {
        value: name.removeprefix(prefix).lower().replace("_", " ")
        for name, value in vars(libvirt).items()
        if name.startswith(prefix) and isinstance(value, int) and not (without and name.startswith(without))
    }


_REASONS = {state: constants(f"VIR_DOMAIN_{state.name}_") for state in DomainState}
_DISK_ERRORS = {libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE: "no space", libvirt.VIR_DOMAIN_DISK_ERROR_UNSPEC: "ioerror"}


def words(state: int, reason: int) -> tuple[DomainState, str]:
    """State and reason ("user", "ioerror", "watchdog", ...) of libvirt's numbers; an unknown reason is ""."""
    named = _STATES.get(state, DomainState.NOSTATE)
    word = _REASONS[named].get(reason, "")
    return named, "" if word == "unknown" else word


def state_of(domain: libvirt.virDomain) -> tuple[DomainState, str]:
    """State and reason now. A domain that an error of its disk paused says which: "no space" or "ioerror"."""
    state, reason = words(*domain.state())
    if state is DomainState.PAUSED and reason == "ioerror":
        try:
            errors = domain.diskErrors()
        except libvirt.libvirtError:
            return state, reason
        found = {_DISK_ERRORS.get(error, "ioerror") for error in errors.values()}
        reason = "no space" if "no space" in found else reason
    return state, reason
