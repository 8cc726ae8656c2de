"""What is done to a running domain: its size, media, display, keys, agent. Used through `domains`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import libvirt
from lxml import etree

from .domain_devices import NAMESPACE, NAMESPACE_PREFIX, metadata_element, set_source
from .errors import InvalidState, NotFound, NotSupported, OperationFailed, translate
from .links import HostLink
from .spec import Metadata
from .xmltools import number, parse, render

T = TypeVar("T")

SCREENSHOT_MAX_BYTES = 16 * 1024 * 1024
AGENT_SECONDS = 5
CHANGE_SECONDS = 40.0


@dataclass(frozen=True)
class Display:
    """Where a running domain's display listens.

    Args:
        kind: "vnc" or "spice".
        host_listen: address on the host; 0.0.0.0 and :: mean all of them.
    """

    kind: str
    host_listen: str
    port: int
    password_required: bool


@dataclass(frozen=True)
class AgentInfo:
    """What the guest agent tells. Fields stay empty when the guest does not say."""

    hostname: str
    os: str
    addresses: tuple[str, ...]


def on_domain(link: HostLink, uuid: str, fn: Callable[[libvirt.virDomain], T], what: str, timeout: float = 10.0) -> T:
    """Run `fn(domain)` on the link."""

    def run(connection: libvirt.virConnect) -> T:
        return fn(connection.lookupByUUIDString(uuid))

    return link.call(run, timeout=timeout, what=what)


def _affected(domain: libvirt.virDomain) -> int:
    """Flags for a change that takes effect now where it runs, and stays where it is persistent."""
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0
    return live | (libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else 0)


def set_vcpus(link: HostLink, uuid: str, count: int) -> None:
    """Plug virtual CPUs of a running domain in or out."""
    on_domain(link, uuid, lambda domain: domain.setVcpusFlags(count, libvirt.VIR_DOMAIN_AFFECT_LIVE), "changing its CPUs", CHANGE_SECONDS)


def set_memory(link: HostLink, uuid: str, mib: int) -> None:
    """Move a running domain's balloon; the guest takes a moment to follow."""
    on_domain(link, uuid, lambda domain: domain.setMemoryFlags(mib * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE), "changing its memory")


def attach_device(link: HostLink, uuid: str, xml: str) -> None:
    """Plug a device in, now and in the definition."""
    on_domain(link, uuid, lambda domain: domain.attachDeviceFlags(xml, _affected(domain)), "plugging a device in", CHANGE_SECONDS)


def detach_device(link: HostLink, uuid: str, xml: str) -> None:
    """Pull a device out; of a running guest it is gone when the "device-removed" event says so."""
    on_domain(link, uuid, lambda domain: domain.detachDeviceFlags(xml, _affected(domain)), "pulling a device out", CHANGE_SECONDS)


def update_device(link: HostLink, uuid: str, xml: str) -> None:
    """Change a device that is there (link state, network, ...)."""
    on_domain(link, uuid, lambda domain: domain.updateDeviceFlags(xml, _affected(domain)), "changing a device", CHANGE_SECONDS)


def change_media(link: HostLink, uuid: str, target: str, path: str, force: bool = False) -> None:
    """Put an ISO into a CD drive, or take it out.

    Args:
        path: on the host; "" leaves the drive empty.
        force: also when the guest has locked the tray.

    Raises:
        NotFound: no such drive.
    """

    def run(domain: libvirt.virDomain) -> None:
        root = parse(domain.XMLDesc(), "domain")
        drive = next(
            (each for each in root.findall("devices/disk[@device='cdrom']") if each.find(f"target[@dev='{_plain(target)}']") is not None),
            None,
        )
        if drive is None:
            raise NotFound(f"{domain.name()} has no CD drive {target}")
        for element in drive.findall("backingStore"):
            drive.remove(element)
        set_source(drive, path)
        flags = _affected(domain) | (libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE if force else 0)
        domain.updateDeviceFlags(render(drive), flags)

    on_domain(link, uuid, run, "changing the CD", CHANGE_SECONDS)


def _plain(name: str) -> str:
    if not name.isalnum():
        raise NotFound(f"no drive is called {name!r}")
    return name


def set_graphics_password(link: HostLink, uuid: str, password: str) -> None:
    """Change the VNC password, of the running display and in the definition.

    Args:
        password: 1 to 8 characters.
    """
    if not 0 < len(password.encode()) <= 8:
        raise ValueError("a VNC password has 1 to 8 characters")

    def run(domain: libvirt.virDomain) -> None:
        kinds = []
        if domain.isActive():
            kinds.append((0, libvirt.VIR_DOMAIN_AFFECT_LIVE))
        if domain.isPersistent():
            kinds.append((libvirt.VIR_DOMAIN_XML_INACTIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG))
        for xml_flag, flag in kinds:  # the two differ in their ports, so each gets its own back
            element = parse(domain.XMLDesc(xml_flag), "domain").find("devices/graphics[@type='vnc']")
            if element is None:
                raise NotFound(f"{domain.name()} has no VNC display")
            element.set("passwd", password)
            domain.updateDeviceFlags(render(element), flag)

    on_domain(link, uuid, run, "setting the display's password")


def display(link: HostLink, uuid: str) -> Display:
    """Where the display of a running domain is.

    Raises:
        InvalidState: it does not run.
        NotFound: it has no display that listens on the network.
    """

    def run(domain: libvirt.virDomain) -> Display:
        if not domain.isActive():
            raise InvalidState(f"{domain.name()} does not run")
        root = parse(_secure_xml(domain), "domain")
        for element in root.findall("devices/graphics"):
            port = number(element.get("port", ""))
            if element.get("type") in ("vnc", "spice") and port > 0:
                return Display(element.get("type", ""), _listen(element), port, bool(element.get("passwd")))
        raise NotFound(f"{domain.name()} has no display")

    return on_domain(link, uuid, run, "finding the display")


def _secure_xml(domain: libvirt.virDomain) -> str:
    try:
        return domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_OPERATION_DENIED):
            raise
        return domain.XMLDesc()


def _listen(element: etree._Element) -> str:
    for listen in element.findall("listen"):
        if address := listen.get("address"):
            return address
    return element.get("listen", "")


def screenshot(link: HostLink, uuid: str) -> tuple[str, bytes]:
    """The screen now: MIME type (QEMU's is image/png or image/x-portable-pixmap) and bytes, at most 16 MiB.

    Raises:
        InvalidState: it does not run.
    """

    def run(connection: libvirt.virConnect) -> tuple[str, bytes]:
        stream = connection.newStream()
        mime = connection.lookupByUUIDString(uuid).screenshot(stream, 0)
        data = bytearray()
        while chunk := stream.recv(256 * 1024):
            data += chunk
            if len(data) > SCREENSHOT_MAX_BYTES:
                stream.abort()
                raise OperationFailed("the screenshot is larger than 16 MiB")
        stream.finish()
        return mime, bytes(data)

    return link.call(run, timeout=10.0, what="taking a screenshot")


def send_keys(link: HostLink, uuid: str, keycodes: Sequence[int], hold_ms: int = 50) -> None:
    """Press keys together, as on a keyboard plugged into the guest.

    Args:
        keycodes: Linux key codes (KEY_LEFTCTRL is 29), at most 16.
    """
    codes = list(keycodes)
    on_domain(link, uuid, lambda domain: domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, hold_ms, codes, len(codes), 0), "sending keys")


def agent_info(link: HostLink, uuid: str) -> AgentInfo:
    """Ask the guest agent for host name, system and addresses.

    Raises:
        AgentUnresponsive: no agent, or it does not answer within 5 s.
    """

    def run(domain: libvirt.virDomain) -> AgentInfo:
        if not domain.isActive():
            raise InvalidState(f"{domain.name()} does not run")
        _optional(lambda: domain.agentSetResponseTimeout(AGENT_SECONDS, 0))
        facts = domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS | libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME, 0)
        interfaces = _optional(lambda: domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0)) or {}
        return AgentInfo(facts.get("hostname", ""), facts.get("os.pretty-name") or facts.get("os.name", ""), _addresses(interfaces))

    return on_domain(link, uuid, run, "asking the guest agent", 3.0 * AGENT_SECONDS)


def _optional(fn: Callable[[], T]) -> T | None:
    """What it returns, None when the host or the guest cannot do it."""
    try:
        return fn()
    except libvirt.libvirtError as error:
        if isinstance(translate(error), NotSupported | OperationFailed):
            return None
        raise


def _addresses(interfaces: dict) -> tuple[str, ...]:
    found = []
    for name, interface in sorted(interfaces.items()):
        for address in interface.get("addrs") or ():
            value = address.get("addr", "")
            if name != "lo" and value and not value.lower().startswith("fe80:"):
                found.append(value)
    return tuple(found)


def set_metadata(link: HostLink, uuid: str, metadata: Metadata) -> None:
    """Write our metadata into the domain, running or not."""
    xml = render(metadata_element(metadata, namespace=""))

    def run(domain: libvirt.virDomain) -> None:
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, xml, NAMESPACE_PREFIX, NAMESPACE, _affected(domain))

    on_domain(link, uuid, run, "writing its metadata")
