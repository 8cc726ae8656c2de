"""The parts of a domain's XML that both a new domain and the change of an old one write."""

from lxml import etree

from .pool_xml import add_hosts
from .spec import DiskSpec, DomainSpec, GraphicsSpec, Metadata, NetworkSource, NicSpec
from .xmltools import add, render

NAMESPACE = "urn:vireo:domain:1"
NAMESPACE_PREFIX = "vireo"
CLIPBOARD_CHANNEL = "com.redhat.spice.0"  # the port that spice-vdagent looks for


def metadata_element(metadata: Metadata, namespace: str = NAMESPACE) -> etree._Element:
    """<vireo:domain> with our id, owner and tags; without a namespace for virDomainSetMetadata, which puts it in itself."""
    space = f"{{{namespace}}}" if namespace else ""
    element = etree.Element(f"{space}domain", nsmap={NAMESPACE_PREFIX: namespace} if namespace else None)
    add(element, f"{space}vm", metadata.vm_id)
    if metadata.owner:
        add(element, f"{space}owner", metadata.owner)
    for tag in metadata.tags:
        add(element, f"{space}tag", tag)
    return element


def set_only(parent: etree._Element, tag: str, value: str | int, **attributes: str | int | None) -> etree._Element:
    """Make `tag` the one child of that name, where the first one stood, or at the end."""
    old = parent.findall(tag)
    element = add(parent, tag, value, **attributes)
    if old:
        old[0].addprevious(element)
        for each in old:
            parent.remove(each)
    return element


def set_memory(root: etree._Element, spec: DomainSpec) -> None:
    """<memory> is the most that the guest may have, <currentMemory> what it starts with."""
    set_only(root, "memory", spec.memory_max_mib or spec.memory_mib, unit="MiB")
    set_only(root, "currentMemory", spec.memory_mib, unit="MiB")


def set_vcpus(root: etree._Element, spec: DomainSpec) -> None:
    """<vcpu> is the most, its `current` what it starts with."""
    most = spec.vcpus_max or spec.vcpus
    set_only(root, "vcpu", most, placement="static", current=spec.vcpus if most != spec.vcpus else None)


def set_source(disk: etree._Element, path: str, remote: NetworkSource | None = None) -> None:
    """Point a disk at a file, a block device or a network disk; "" empties it."""
    for old in disk.findall("source"):
        disk.remove(old)
    block = path.startswith("/dev/")
    disk.set("type", "network" if remote else "block" if block else "file")
    if not path:
        return
    source = _network_source(remote) if remote else etree.Element("source", {"dev" if block else "file": path})
    driver = disk.find("driver")
    if driver is None:
        disk.insert(0, source)
    else:
        driver.addnext(source)


def _network_source(remote: NetworkSource) -> etree._Element:
    source = etree.Element("source", protocol=remote.protocol, name=remote.name)
    add_hosts(source, remote.hosts)
    if remote.user:
        auth = add(source, "auth", username=remote.user)
        add(auth, "secret", type="iscsi" if remote.protocol == "iscsi" else "ceph", uuid=remote.secret)
    if remote.initiator:
        add(add(source, "initiator"), "iqn", name=remote.initiator)
    return source


def set_limits(element: etree._Element, disk: DiskSpec) -> None:
    """<iotune> of a disk, or none."""
    for old in element.findall("iotune"):
        element.remove(old)
    if disk.io_iops or disk.io_bytes:
        tune = add(element, "iotune")
        if disk.io_bytes:
            add(tune, "total_bytes_sec", disk.io_bytes)
        if disk.io_iops:
            add(tune, "total_iops_sec", disk.io_iops)


def add_disk(devices: etree._Element, disk: DiskSpec) -> etree._Element:
    """Append a <disk>."""
    cdrom = disk.device == "cdrom"
    element = add(devices, "disk", type="file", device=disk.device)
    driver = add(element, "driver", name="qemu", type="raw" if cdrom else disk.format)
    if not cdrom:
        if disk.cache:
            driver.set("cache", disk.cache)
        if disk.discard:
            driver.set("discard", disk.discard)
    set_source(element, disk.source, disk.remote)
    add(element, "target", dev=disk.target, bus=disk.bus)
    set_limits(element, disk)
    if disk.readonly or cdrom:
        add(element, "readonly")
    if disk.shareable:
        add(element, "shareable")
    if disk.serial:
        add(element, "serial", disk.serial)
    return element


def add_nic(devices: etree._Element, nic: NicSpec) -> etree._Element:
    """Append an <interface>."""
    element = add(devices, "interface", type="bridge" if nic.bridge else "network")
    add(element, "mac", address=nic.mac)
    if nic.bridge:
        add(element, "source", bridge=nic.bridge)
    else:
        add(element, "source", network=nic.network)
    add(element, "model", type=nic.model)
    if not nic.link_up:
        add(element, "link", state="down")
    if nic.alias:
        add(element, "alias", name=f"ua-{nic.alias}")
    return element


def add_graphics(devices: etree._Element, graphics: GraphicsSpec) -> etree._Element:
    """Append a VNC <graphics>; without a listen address the host's qemu.conf decides."""
    element = add(devices, "graphics", type="vnc", port=-1, autoport="yes", listen=graphics.listen, passwd=graphics.password)
    if graphics.listen:
        add(element, "listen", type="address", address=graphics.listen)
    return element


def disk_xml(disk: DiskSpec) -> str:
    """One disk as XML of its own, to plug in or change."""
    return render(add_disk(etree.Element("devices"), disk))


def nic_xml(nic: NicSpec) -> str:
    """One NIC as XML of its own, to plug in or change."""
    return render(add_nic(etree.Element("devices"), nic))
