"""Logical networks on one host, through libvirt. Called from jobs."""

import ipaddress

from hosts.connect import link_of
from hosts.models import Host
from hypervisor import networks as libvirt_networks
from hypervisor.errors import AlreadyExists
from hypervisor.spec import NetworkSpec
from networks.models import Forward, Network


def spec_of(network: Network) -> NetworkSpec:
    """The gateway has the first address, DHCP gives out the rest."""
    cidr = ipaddress.IPv4Network(network.cidr)
    return NetworkSpec(
        name=network.libvirt_name,
        uuid=str(network.pk),
        bridge=network.bridge,
        forward="nat" if network.forward == Forward.NAT else "",
        address=f"{cidr[1]}/{cidr.prefixlen}",
        dhcp_start=str(cidr[2]),
        dhcp_end=str(cidr[-2]),
    )


def wanted(host: Host) -> list[Network]:
    """The networks that the host should have."""
    return list(Network.objects.filter(cluster_id=host.cluster_id))


def ensure(network: Network, host: Host) -> None:
    """Defines and starts the network; one of ours with older addresses is made anew. Raises HypervisorError."""
    link = link_of(host)
    try:
        libvirt_networks.ensure_network(link, spec_of(network))
    except AlreadyExists:
        libvirt_networks.remove_network(link, network.libvirt_name)
        libvirt_networks.ensure_network(link, spec_of(network))


def release(network: Network, host: Host) -> None:
    """Stops and undefines the network there. Raises HypervisorError."""
    libvirt_networks.remove_network(link_of(host), network.libvirt_name)
