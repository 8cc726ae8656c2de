"""libvirt networks on a host."""

from dataclasses import dataclass
from enum import StrEnum

import libvirt

from .errors import AlreadyExists
from .links import HostLink
from .network_xml import from_xml, to_xml
from .spec import NetworkSpec

NETWORK_SECONDS = 30.0


class NetworkState(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    MISSING = "missing"


@dataclass(frozen=True)
class Lease:
    """An address that the network's DHCP server gave out.

    Args:
        expires: seconds since the epoch.
    """

    mac: str
    address: str
    hostname: str
    expires: int


def ensure_network(link: HostLink, spec: NetworkSpec) -> None:
    """Define, autostart and start the network; does nothing where that is done. One that is there is not changed.

    Raises:
        AlreadyExists: a network of this name is there and differs in bridge, address or forwarding.
    """

    def run(connection: libvirt.virConnect) -> None:
        try:
            network = connection.networkLookupByName(spec.name)
            _compare(spec, from_xml(network.XMLDesc(0)))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                raise
            network = connection.networkDefineXML(to_xml(spec))
        network.setAutostart(1)
        if not network.isActive():
            network.create()

    link.call(run, timeout=NETWORK_SECONDS, what=f"setting up network {spec.name}")


def _compare(wanted: NetworkSpec, found: NetworkSpec) -> None:
    for name in ("bridge", "forward", "address"):
        ours, theirs = getattr(wanted, name), getattr(found, name)
        if ours != theirs and not (name == "bridge" and not ours):
            raise AlreadyExists(f"network {wanted.name} is already there, with {name} {theirs or 'none'} instead of {ours or 'none'}")


def remove_network(link: HostLink, name: str) -> None:
    """Stop and undefine the network; one that is not there is fine."""

    def run(connection: libvirt.virConnect) -> None:
        try:
            network = connection.networkLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                raise
            return
        if network.isActive():
            network.destroy()
        if network.isPersistent():
            network.undefine()

    link.call(run, timeout=NETWORK_SECONDS, what=f"removing network {name}")


def network_state(link: HostLink, name: str) -> NetworkState:
    """Whether the network is there, and runs."""

    def read(connection: libvirt.virConnect) -> NetworkState:
        for network in connection.listAllNetworks():
            if network.name() == name:
                return NetworkState.ACTIVE if network.isActive() else NetworkState.INACTIVE
        return NetworkState.MISSING

    return link.call(read, what=f"reading network {name}")


def dhcp_leases(link: HostLink, name: str) -> list[Lease]:
    """Leases of a network with DHCP.

    Raises:
        NotFound, NotSupported
    """

    def read(connection: libvirt.virConnect) -> list[Lease]:
        leases = connection.networkLookupByName(name).DHCPLeases()
        return [
            Lease((lease["mac"] or "").lower(), lease["ipaddr"] or "", lease["hostname"] or "", int(lease["expirytime"] or 0))
            for lease in leases
        ]

    return link.call(read, what=f"reading the leases of {name}")
