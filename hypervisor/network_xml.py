"""libvirt networks: spec in, XML out, and back."""

import ipaddress

from lxml import etree

from .spec import NetworkSpec
from .xmltools import add, attribute, number, parse, render, text

BRIDGE_MAX = 15  # Linux' IFNAMSIZ, without the closing zero


def to_xml(spec: NetworkSpec) -> str:
    """The XML that defines this network.

    Raises:
        ValueError: addresses that do not fit together, or a bridge's name that is too long.
    """
    if len(spec.bridge) > BRIDGE_MAX:
        raise ValueError(f"{spec.bridge!r} is longer than {BRIDGE_MAX} characters")
    if spec.forward not in ("", "nat"):
        raise ValueError(f"forwarding {spec.forward!r} is not known")
    root = etree.Element("network")
    add(root, "name", spec.name)
    if spec.uuid:
        add(root, "uuid", spec.uuid)
    if spec.forward:
        add(root, "forward", mode=spec.forward)
    add(root, "bridge", name=spec.bridge, stp="on", delay=0)
    if spec.mtu:
        add(root, "mtu", size=spec.mtu)
    if spec.address:
        _add_ip(root, spec)
    elif spec.dhcp_start or spec.dhcp_end:
        raise ValueError("leases need an address of the host on the network")
    return render(root)


def _add_ip(root: etree._Element, spec: NetworkSpec) -> None:
    interface = ipaddress.ip_interface(spec.address)
    family = "ipv6" if interface.version == 6 else None
    ip = add(root, "ip", family=family, address=str(interface.ip), prefix=interface.network.prefixlen)
    if not spec.dhcp_start and not spec.dhcp_end:
        return
    start, end = ipaddress.ip_address(spec.dhcp_start), ipaddress.ip_address(spec.dhcp_end)
    if start not in interface.network or end not in interface.network or int(end) < int(start):
        raise ValueError(f"leases from {start} to {end} do not lie in {interface.network}")
    add(add(ip, "dhcp"), "range", start=str(start), end=str(end))


def from_xml(xml: str) -> NetworkSpec:
    """Read a network's XML; the first <ip> counts.

    Raises:
        BadXml
    """
    root = parse(xml, "network")
    ip = root.find("ip")
    address = dhcp_start = dhcp_end = ""
    if ip is not None and ip.get("address"):
        prefix = ip.get("prefix") or ip.get("netmask") or ("64" if ip.get("family") == "ipv6" else "24")
        try:
            address = ipaddress.ip_interface(f"{ip.get('address')}/{prefix}").with_prefixlen
        except ValueError:
            address = ""
        dhcp_start, dhcp_end = attribute(ip, "dhcp/range", "start"), attribute(ip, "dhcp/range", "end")
    return NetworkSpec(
        name=text(root, "name"),
        uuid=text(root, "uuid").strip(),
        bridge=attribute(root, "bridge", "name"),
        forward=attribute(root, "forward", "mode"),
        address=address,
        dhcp_start=dhcp_start,
        dhcp_end=dhcp_end,
        mtu=number(attribute(root, "mtu", "size")),
    )
