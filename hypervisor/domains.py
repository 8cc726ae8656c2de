"""Verbs on domains: read, define, run, stop. None repeats itself or hides a refusal: the caller decides what is fine.

What is done to a running domain (media, passwords, screenshots, the agent) is in `guests`, and is importable from here too.
"""

from dataclasses import dataclass

import libvirt

from .domain_state import DomainState, state_of
from .guests import (
    AgentInfo,
    Display,
    agent_info,
    attach_device,
    change_media,
    detach_device,
    display,
    on_domain,
    screenshot,
    send_keys,
    set_graphics_password,
    set_memory,
    set_metadata,
    set_vcpus,
    update_device,
)
from .links import HostLink

__all__ = [
    "AgentInfo",
    "Display",
    "DomainRecord",
    "DomainState",
    "agent_info",
    "attach_device",
    "change_media",
    "create",
    "create_once",
    "define",
    "destroy",
    "detach_device",
    "display",
    "get",
    "list_domains",
    "reboot",
    "reset",
    "resume",
    "screenshot",
    "send_keys",
    "set_graphics_password",
    "set_memory",
    "set_metadata",
    "set_vcpus",
    "shutdown",
    "state",
    "suspend",
    "undefine",
    "update_device",
]

START_SECONDS = 60.0
LIST_SECONDS = 30.0
# libvirt itself waits 30 s for QEMU before it says that another job holds the domain.
CHANGE_SECONDS = 40.0


@dataclass(frozen=True)
class DomainRecord:
    """A domain as a host has it.

    Args:
        reason: libvirt's word for why it is in this state, "" when it has none.
        xml: the persistent definition (of a transient domain the running one), without secrets.
        has_managed_save: its memory is saved, and the next start resumes it.
    """

    uuid: str
    name: str
    state: DomainState
    reason: str
    persistent: bool
    xml: str
    has_managed_save: bool
    autostart: bool


def list_domains(link: HostLink) -> list[DomainRecord]:
    """All domains of the host, running or not."""

    def read(connection: libvirt.virConnect) -> list[DomainRecord]:
        persistent, saved, autostart = (
            {domain.UUIDString() for domain in connection.listAllDomains(flag)}
            for flag in (
                libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT,
                libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE,
                libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART,
            )
        )
        records = []
        for domain in connection.listAllDomains():
            uuid = domain.UUIDString()
            try:
                records.append(_record(domain, uuid in persistent, uuid in saved, uuid in autostart))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # it went away while we read
                    raise
        return records

    return link.call(read, timeout=LIST_SECONDS, what="listing its domains")


def _record(domain: libvirt.virDomain, persistent: bool, saved: bool, autostart: bool) -> DomainRecord:
    state, reason = state_of(domain)
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if persistent else 0)
    return DomainRecord(domain.UUIDString(), domain.name(), state, reason, persistent, xml, saved, autostart)


def get(link: HostLink, uuid: str) -> DomainRecord:
    """One domain.

    Raises:
        NotFound
    """

    def read(domain: libvirt.virDomain) -> DomainRecord:
        persistent = bool(domain.isPersistent())
        return _record(domain, persistent, persistent and bool(domain.hasManagedSaveImage()), persistent and bool(domain.autostart()))

    return on_domain(link, uuid, read, "reading the domain")


def state(link: HostLink, uuid: str) -> tuple[DomainState, str]:
    """State and reason of one domain.

    Raises:
        NotFound
    """
    return on_domain(link, uuid, state_of, "reading the domain's state")


def define(link: HostLink, xml: str) -> str:
    """Make the domain, or replace its persistent definition; returns its UUID.

    Raises:
        AlreadyExists: another domain has the name or the UUID.
        OperationFailed: libvirt does not accept the XML.
    """

    def run(connection: libvirt.virConnect) -> str:
        return connection.defineXML(xml).UUIDString()

    return link.call(run, timeout=CHANGE_SECONDS, what="defining the domain")


def create(link: HostLink, uuid: str, paused: bool = False) -> None:
    """Start it; `paused` stops it before its first instruction.

    Raises:
        InvalidState: it runs already.
    """
    flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
    on_domain(link, uuid, lambda domain: domain.createWithFlags(flags), "starting the domain", START_SECONDS)


def create_once(link: HostLink, xml: str, paused: bool = False) -> str:
    """Start a defined domain with another XML this one time; the persistent definition stays. Returns the UUID.

    Raises:
        InvalidState, AlreadyExists: it runs already.
    """
    flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0

    def run(connection: libvirt.virConnect) -> str:
        return connection.createXML(xml, flags).UUIDString()

    return link.call(run, timeout=START_SECONDS, what="starting the domain once")


_SHUTDOWN_MODES = {
    "agent-or-acpi": 0,  # QEMU's driver asks the agent when one is connected, and presses the button when that fails
    "agent": libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
    "acpi": libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
}


def shutdown(link: HostLink, uuid: str, mode: str = "agent-or-acpi") -> None:
    """Ask the guest to power off; returns when it was asked, not when it is off.

    Args:
        mode: "agent-or-acpi", "agent" or "acpi".

    Raises:
        InvalidState: it does not run.
        AgentUnresponsive: with "agent" only.
    """
    on_domain(link, uuid, lambda domain: domain.shutdownFlags(_SHUTDOWN_MODES[mode]), "shutting the domain down", CHANGE_SECONDS)


def destroy(link: HostLink, uuid: str) -> None:
    """Power it off now. A transient domain is gone afterwards.

    Raises:
        InvalidState: it does not run.
    """
    on_domain(link, uuid, lambda domain: domain.destroy(), "powering the domain off", CHANGE_SECONDS)


def reboot(link: HostLink, uuid: str) -> None:
    """Ask the guest to reboot: the agent where there is one, else ACPI."""
    on_domain(link, uuid, lambda domain: domain.reboot(0), "rebooting the domain", CHANGE_SECONDS)


def reset(link: HostLink, uuid: str) -> None:
    """Press the reset button: nothing is flushed."""
    on_domain(link, uuid, lambda domain: domain.reset(0), "resetting the domain", CHANGE_SECONDS)


def suspend(link: HostLink, uuid: str) -> None:
    """Stop its CPUs, keep its memory."""
    on_domain(link, uuid, lambda domain: domain.suspend(), "pausing the domain", CHANGE_SECONDS)


def resume(link: HostLink, uuid: str) -> None:
    """Let its CPUs go on."""
    on_domain(link, uuid, lambda domain: domain.resume(), "resuming the domain", CHANGE_SECONDS)


_LEFTOVERS = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
_MORE_LEFTOVERS = _LEFTOVERS | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA


def undefine(link: HostLink, uuid: str) -> None:
    """Forget the definition, with its NVRAM, saved memory and the metadata of snapshots; disks stay. A running domain runs on, transient.

    Raises:
        NotFound
    """

    def run(domain: libvirt.virDomain) -> None:
        refused: libvirt.libvirtError | None = None
        for flags in (_MORE_LEFTOVERS | libvirt.VIR_DOMAIN_UNDEFINE_TPM, _MORE_LEFTOVERS, _LEFTOVERS, 0):
            try:
                domain.undefineFlags(flags)
                return
            except libvirt.libvirtError as error:
                if error.get_error_code() not in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_SUPPORT):
                    raise
                refused = error  # this driver, or this age of libvirt, does not know a flag
        if refused:
            raise refused

    on_domain(link, uuid, run, "undefining the domain", CHANGE_SECONDS)
