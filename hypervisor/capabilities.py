"""What a host is and what its driver can do. Every question may be refused; then its field stays empty."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import libvirt
from lxml import etree

from .errors import NotSupported, OperationFailed, translate
from .links import HostLink
from .xmltools import BadXml, attribute, number, parse, size, text

T = TypeVar("T")

READ_SECONDS = 30.0


@dataclass(frozen=True)
class HostCapabilities:
    """Facts about a host.

    Args:
        driver: libvirt's name: "QEMU", "Test", ...
        libvirt_version, hypervisor_version: "9.0.0"; "" when unknown.
        sockets, cores, threads: per NUMA node, per socket, per core; 0 when unknown.
        domain_types: of "qemu", "kvm", "test", ...; what the driver offers, not what was proven to run.
        manufacturer, product, serial: of SMBIOS, "" on a host that has none.
        features: words for `supports`: what the driver can do beyond start and stop.
    """

    hostname: str = ""
    uuid: str = ""
    driver: str = ""
    libvirt_version: str = ""
    hypervisor_version: str = ""
    arch: str = ""
    cpu_model: str = ""
    cpu_vendor: str = ""
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    cpus: int = 0
    cpu_mhz: int = 0
    numa_nodes: int = 0
    memory_bytes: int = 0
    cpu_features: tuple[str, ...] = ()
    domain_types: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    features: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class HostDevice:
    """A device of the host: kind "net", "storage", "pci" or "usb_device".

    Args:
        detail: MAC address, block device or product name.
        size_bytes: of storage, 0 otherwise.
    """

    name: str
    kind: str
    detail: str
    size_bytes: int = 0


# What QEMU's driver can do and the test driver cannot (libvirt 9.0); drivers not named here are asked call by call.
_FEATURES = {
    "QEMU": frozenset(
        [
            "console",
            "display",
            "screenshot",
            "agent",
            "hotplug",
            "media",
            "migrate",
            "statistics",
            "balloon",
            "blockjobs",
            "snapshots",
            "managedsave",
            "start-paused",
            "upload",
            "backup",
            "send-keys",
            "secrets",
            "nwfilters",
            "dhcp-leases",
            "metadata",
        ]
    ),
    "TEST": frozenset(["screenshot", "snapshots", "managedsave", "metadata"]),
    "LXC": frozenset(["console", "statistics", "metadata"]),
    "Xen": frozenset(["console", "display", "statistics", "migrate", "managedsave", "metadata"]),
}


def supports(capabilities: HostCapabilities, feature: str) -> bool:
    """Whether the host's driver can do it: "console", "display", "screenshot", "agent", "hotplug", "statistics", ..."""
    return feature in capabilities.features


def read(link: HostLink) -> HostCapabilities:
    """Ask the host all that it will tell.

    Raises:
        HostUnreachable: only when the connection is lost.
    """
    return link.call(_read, timeout=READ_SECONDS, what="reading its capabilities")


def _ask(fn: Callable[[], T], default: T) -> T:
    """The answer, or the default when this driver or host has none."""
    try:
        answer = fn()
    except libvirt.libvirtError as error:
        # A host without SMBIOS answers VIR_ERR_INTERNAL_ERROR, a driver without the call VIR_ERR_NO_SUPPORT.
        if isinstance(translate(error), NotSupported | OperationFailed):
            return default
        raise
    return default if answer is None else answer


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}" if number > 0 else ""


def _element(xml: str, root: str) -> etree._Element:
    try:
        return parse(xml, root)
    except BadXml:
        return etree.Element(root)


def _read(connection: libvirt.virConnect) -> HostCapabilities:
    caps = _element(_ask(connection.getCapabilities, ""), "capabilities")
    # [model, memory MiB, cpus, MHz, nodes, sockets per node, cores per socket, threads per core]
    info: list[Any] = _ask(connection.getInfo, ["", 0, 0, 0, 0, 0, 0, 0])
    driver = _ask(connection.getType, "")
    smbios = _element(_ask(lambda: connection.getSysinfo(0), ""), "sysinfo")
    cells = caps.findall("host/topology/cells/cell")
    guests = caps.findall("guest")
    own_arch = text(caps, "host/cpu/arch") or str(info[0])
    native = [guest for guest in guests if attribute(guest, "arch", "name") == own_arch] or guests[:1]
    # The NUMA cells leave out memory that was plugged in later; the statistics have it.
    cells_memory = sum(size(cell, "memory", "KiB") for cell in cells)
    nothing: dict[str, int] = {}
    statistics = _ask(lambda: connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS), nothing)
    memory = statistics.get("total", 0) * 1024 or cells_memory or int(info[1]) * 1024 * 1024

    def system(entry: str) -> str:
        value = text(smbios, f"system/entry[@name='{entry}']").strip()
        return "" if re.fullmatch(r"(?i)(not specified|to be filled.*|none|unknown|default string)", value) else value

    return HostCapabilities(
        hostname=_ask(connection.getHostname, ""),
        uuid=text(caps, "host/uuid").strip(),
        driver=driver,
        libvirt_version=_version(_ask(connection.getLibVersion, 0)),
        hypervisor_version=_version(_ask(connection.getVersion, 0)),
        arch=own_arch,
        cpu_model=text(caps, "host/cpu/model"),
        cpu_vendor=text(caps, "host/cpu/vendor"),
        sockets=int(info[5]),
        cores=int(info[6]),
        threads=int(info[7]),
        cpus=int(info[2]),
        cpu_mhz=int(info[3]),
        numa_nodes=len(cells) or int(info[4]),
        memory_bytes=memory,
        cpu_features=tuple(sorted(each.get("name", "") for each in caps.findall("host/cpu/feature"))),
        domain_types=tuple(sorted({each.get("type", "") for guest in native for each in guest.findall("arch/domain")})),
        machines=tuple(sorted({each.text or "" for guest in native for each in guest.findall("arch//machine")})),
        manufacturer=system("manufacturer"),
        product=system("product"),
        serial=system("serial"),
        features=_FEATURES.get(driver, frozenset({"metadata"})) | _asked_features(connection),
    )


def _asked_features(connection: libvirt.virConnect) -> frozenset[str]:
    """What depends on how the host's hypervisor was built, so that only its libvirt can tell."""
    domain = _element(_ask(lambda: connection.getDomainCapabilities(None, None, None, None, 0), ""), "domainCapabilities")
    channels = {(value.text or "").strip() for value in domain.findall("devices/channel/enum[@name='type']/value")}
    # Since 8.4 libvirt drives QEMU's own clipboard channel; 9.0 does not list it, but SPICE's, which is built from the same headers.
    knows = _ask(connection.getLibVersion, 0) >= 8_004_000 and _ask(connection.getVersion, 0) >= 6_001_000
    return frozenset({"clipboard"} if "qemu-vdagent" in channels or (knows and "spicevmc" in channels) else ())


_KINDS = {"net": "net", "storage": "storage", "pci": "pci", "usb_device": "usb_device"}


def devices(link: HostLink) -> list[HostDevice]:
    """Network cards, storage, PCI and USB devices; an empty list where the host cannot list them."""

    def run(connection: libvirt.virConnect) -> list[HostDevice]:
        flags = (
            libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET
            | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE
            | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
            | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV
        )
        found = []
        nothing: list[libvirt.virNodeDevice] = []
        for each in _ask(lambda: connection.listAllDevices(flags), nothing):
            xml = _ask(each.XMLDesc, "")  # a device may be pulled out while we read
            capability = _element(xml, "device").find("capability")
            if capability is not None:
                found.append(_device(each.name(), capability))
        return found

    return link.call(run, timeout=READ_SECONDS, what="listing its devices")


def _device(name: str, capability: etree._Element) -> HostDevice:
    kind = _KINDS.get(capability.get("type", ""), capability.get("type", ""))
    if kind == "net":
        return HostDevice(text(capability, "interface") or name, kind, text(capability, "address"))
    if kind == "storage":
        return HostDevice(text(capability, "block") or name, kind, text(capability, "model"), number(text(capability, "size")))
    return HostDevice(name, kind, " ".join(filter(None, (text(capability, "vendor"), text(capability, "product")))))
