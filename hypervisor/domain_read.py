"""A domain's XML back into a spec, and what differs from what was asked for."""

from dataclasses import dataclass, fields

from lxml import etree

from .domain_devices import CLIPBOARD_CHANNEL, NAMESPACE
from .pool_xml import hosts_in
from .spec import DiskSpec, DomainSpec, GraphicsSpec, Metadata, NetworkSource, NicSpec
from .xmltools import attribute, number, parse, size, text

MIB = 1024 * 1024


@dataclass(frozen=True)
class Difference:
    """One field of a domain, e.g. "memory_mib" or "disks[vda].source"; "" where one side has nothing."""

    field: str
    wanted: str
    found: str


def from_xml(xml: str) -> DomainSpec:
    """Read what libvirt gives; parts that Vireo does not know are passed over.

    Raises:
        BadXml: not a domain.
    """
    root = parse(xml, "domain")
    devices = root.find("devices")
    devices = etree.Element("devices") if devices is None else devices
    memory_max = max(1, size(root, "memory", "KiB") // MIB)
    memory = size(root, "currentMemory", "KiB") // MIB or memory_max
    vcpus_max = number(text(root, "vcpu"), 1)
    vcpus = number(attribute(root, "vcpu", "current"), vcpus_max)
    mode = attribute(root, "cpu", "mode")
    model = text(root, "cpu/model").strip()
    return DomainSpec(
        uuid=text(root, "uuid").strip(),
        name=text(root, "name"),
        title=text(root, "title"),
        description=text(root, "description"),
        memory_mib=memory,
        memory_max_mib=None if memory_max == memory else memory_max,
        vcpus=vcpus,
        vcpus_max=None if vcpus_max == vcpus else vcpus_max,
        sockets=number(attribute(root, "cpu/topology", "sockets")),
        cores=number(attribute(root, "cpu/topology", "cores")),
        threads=number(attribute(root, "cpu/topology", "threads")),
        cpu_mode=mode or ("custom" if model else ""),
        cpu_model=model if mode not in ("host-model", "host-passthrough", "maximum") else "",
        virt_type=root.get("type", ""),
        machine=attribute(root, "os/type", "machine"),
        arch=attribute(root, "os/type", "arch"),
        firmware=_firmware(root),
        boot_order=tuple(boot.get("dev", "") for boot in root.findall("os/boot")),
        kernel=text(root, "os/kernel"),
        initrd=text(root, "os/initrd"),
        cmdline=text(root, "os/cmdline"),
        disks=tuple(_disk(each) for each in devices.findall("disk")),
        nics=tuple(_nic(each) for each in devices.findall("interface")),
        graphics=next((_graphics(each) for each in devices.findall("graphics") if each.get("type") == "vnc"), None),
        serial=devices.find("serial") is not None,
        agent=devices.find("channel/target[@name='org.qemu.guest_agent.0']") is not None,
        clipboard=devices.find(f"channel[@type='qemu-vdagent']/target[@name='{CLIPBOARD_CHANNEL}']") is not None,
        rng=devices.find("rng") is not None,
        balloon=attribute(devices, "memballoon", "model", "none") != "none",
        video=_video(devices),
        tablet=devices.find("input[@type='tablet']") is not None,
        # q35 boards have an iTCO watchdog that libvirt 9 and later may list by itself; ours is the i6300esb.
        watchdog=attribute(devices, "watchdog[@model='i6300esb']", "action"),
        metadata=_metadata(root),
    )


def _firmware(root: etree._Element) -> str:
    loader = root.find("os/loader")
    pflash = loader is not None and loader.get("type") == "pflash"
    if attribute(root, "os", "firmware") != "efi" and not pflash:
        return "bios"
    wanted = attribute(root, "os/firmware/feature[@name='secure-boot']", "enabled")
    secure = wanted or (loader.get("secure", "") if loader is not None else "")
    return "efi-secure" if secure == "yes" else "efi"


def _video(devices: etree._Element) -> str:
    model = attribute(devices, "video/model", "type")
    return "" if model == "none" else model


def _metadata(root: etree._Element) -> Metadata:
    element = root.find(f"metadata/{{{NAMESPACE}}}domain")
    if element is None:
        return Metadata()
    tags = tuple(tag.text or "" for tag in element.findall(f"{{{NAMESPACE}}}tag"))
    return Metadata(vm_id=text(element, f"{{{NAMESPACE}}}vm"), owner=text(element, f"{{{NAMESPACE}}}owner"), tags=tags)


def _disk(element: etree._Element) -> DiskSpec:
    device = element.get("device", "disk")
    source = element.find("source")
    path = ""
    if source is not None:
        path = source.get("file") or source.get("dev") or source.get("dir") or ""
        if not path and source.get("name"):
            path = f"{source.get('protocol') or source.get('pool') or 'network'}:{source.get('name')}"
        elif not path and source.get("volume"):
            path = f"{source.get('pool', '')}:{source.get('volume')}"
    cdrom = device == "cdrom"
    return DiskSpec(
        source=path,
        target=attribute(element, "target", "dev"),
        bus=attribute(element, "target", "bus"),
        device=device,
        format=attribute(element, "driver", "type", "raw"),
        serial=text(element, "serial"),
        cache=attribute(element, "driver", "cache") if not cdrom else "none",
        discard=attribute(element, "driver", "discard") if not cdrom else "unmap",
        readonly=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
        io_iops=number(text(element, "iotune/total_iops_sec")),
        io_bytes=number(text(element, "iotune/total_bytes_sec")),
        remote=_remote(element),
    )


def _remote(element: etree._Element) -> NetworkSource | None:
    source = element.find("source")
    if element.get("type") != "network" or source is None:
        return None
    auth = source.find("auth")
    auth = element.find("auth") if auth is None else auth  # where libvirt had it before 3.9
    return NetworkSource(
        protocol=source.get("protocol", ""),
        name=source.get("name", ""),
        hosts=hosts_in(source),
        user=auth.get("username", "") if auth is not None else "",
        secret=attribute(auth, "secret", "uuid") if auth is not None else "",
        initiator=attribute(source, "initiator/iqn", "name"),
    )


def _nic(element: etree._Element) -> NicSpec:
    alias = attribute(element, "alias", "name")
    network = attribute(element, "source", "network")
    return NicSpec(
        mac=attribute(element, "mac", "address").lower(),
        network=network,
        model=attribute(element, "model", "type"),
        link_up=attribute(element, "link", "state") != "down",
        alias=alias[3:] if alias.startswith("ua-") else "",
        bridge="" if network else attribute(element, "source", "bridge"),
    )


def _graphics(element: etree._Element) -> GraphicsSpec:
    listen = element.get("listen") or attribute(element, "listen", "address")
    return GraphicsSpec(password=element.get("passwd", ""), listen=listen, port=max(0, number(element.get("port", "0"))))


_IDENTITY = {"disks": "target", "nics": "mac"}
# Chosen by libvirt or the host when the spec leaves them open, secret, or our own.
_LENIENT_WHEN_EMPTY = {
    "sockets",
    "cores",
    "threads",
    "cpu_model",
    "cpu_mode",
    "arch",
    "cache",
    "discard",
    "serial",
    "alias",
    "model",
    "remote",
}


def drift(wanted: DomainSpec, found: DomainSpec) -> tuple[Difference, ...]:
    """What someone changed beside us. Secrets, ports and what libvirt fills in by itself do not count."""
    differences: list[Difference] = []
    for field in fields(DomainSpec):
        ours, theirs = getattr(wanted, field.name), getattr(found, field.name)
        if field.name in _IDENTITY:
            differences += _items(field.name, ours, theirs)
        elif field.name == "graphics":
            if (ours is None) != (theirs is None):
                differences.append(Difference("graphics", "vnc" if ours else "", "vnc" if theirs else ""))
        elif field.name == "metadata":
            if ours.vm_id != theirs.vm_id:
                differences.append(Difference("metadata.vm_id", ours.vm_id, theirs.vm_id))
        elif field.name == "clipboard" or (field.name == "cpu_model" and wanted.cpu_mode != "custom"):
            continue  # the first depends on what the host's QEMU was built with, not on what was asked for
        elif not _same(field.name, ours, theirs):
            differences.append(Difference(field.name, _show(ours), _show(theirs)))
    return tuple(differences)


def _items(name: str, ours: tuple[object, ...], theirs: tuple[object, ...]) -> list[Difference]:
    key = _IDENTITY[name]
    wanted = {getattr(item, key): item for item in ours}
    found = {getattr(item, key): item for item in theirs}
    differences = []
    for each in sorted(wanted.keys() | found.keys()):
        mine, other = wanted.get(each), found.get(each)
        label = f"{name}[{each}]"
        if mine is None or other is None:
            differences.append(Difference(label, _title(mine), _title(other)))
            continue
        for field in fields(mine):  # type: ignore[arg-type]
            a, b = getattr(mine, field.name), getattr(other, field.name)
            if not _same(field.name, a, b) and not (field.name in ("readonly", "format") and getattr(mine, "device", "") == "cdrom"):
                differences.append(Difference(f"{label}.{field.name}", _show(a), _show(b)))
    return differences


def _same(name: str, wanted: object, found: object) -> bool:
    if wanted == found or (name in _LENIENT_WHEN_EMPTY and not wanted):
        return True
    if name == "machine":  # "q35" is "pc-q35-7.2" once defined
        return not found or str(wanted) == _family(str(found)) or _family(str(wanted)) == str(found)
    if name in ("memory_max_mib", "vcpus_max"):
        return wanted is None and found is None
    return False


def _family(machine: str) -> str:
    return "q35" if "q35" in machine else "pc" if machine.startswith(("pc-i440fx", "pc")) else machine


def _title(item: object) -> str:
    return (
        "" if item is None else str(getattr(item, "source", "") or getattr(item, "network", "") or getattr(item, "bridge", "") or "present")
    )


def _show(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)
