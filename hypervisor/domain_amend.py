"""Change a domain that we did not make: only what Vireo manages, and everything else stays as it is."""

from collections.abc import Callable

from lxml import etree

from .domain_devices import (
    NAMESPACE,
    add_disk,
    add_nic,
    metadata_element,
    set_limits,
    set_memory,
    set_only,
    set_source,
    set_vcpus,
)
from .domain_read import from_xml
from .spec import DiskSpec, DomainSpec, NicSpec
from .xmltools import add, parse, render


def amend_xml(existing_xml: str, spec: DomainSpec) -> str:
    """`existing_xml` with the spec's title, description, memory, CPUs, boot order, direct kernel, disks, NICs and metadata.

    Name, UUID, machine, firmware, CPU model, displays and all that Vireo does not know are kept. What has not changed is
    not touched, so a domain amended with its own spec stays the same.
    """
    root = parse(existing_xml, "domain")
    before = from_xml(existing_xml)
    for tag in ("title", "description"):
        if getattr(before, tag) != getattr(spec, tag):
            _set_or_drop(root, tag, getattr(spec, tag))
    if (before.memory_mib, before.memory_max_mib) != (spec.memory_mib, spec.memory_max_mib):
        set_memory(root, spec)
    if (before.vcpus, before.vcpus_max) != (spec.vcpus, spec.vcpus_max):
        set_vcpus(root, spec)
        _forget_old_vcpus(root)
    _amend_topology(root, before, spec)
    _amend_os(root, before, spec)
    if before.metadata != spec.metadata:
        _amend_metadata(root, spec)
    devices = root.find("devices")
    if devices is None:
        devices = add(root, "devices")
    _amend_disks(devices, before, spec)
    _amend_nics(devices, before, spec)
    return render(root)


def _set_or_drop(parent: etree._Element, tag: str, value: str) -> None:
    if value:
        set_only(parent, tag, value)
    else:
        for old in parent.findall(tag):
            parent.remove(old)


def _forget_old_vcpus(root: etree._Element) -> None:
    """<vcpus> lists each CPU by its number and contradicts a new count."""
    for old in root.findall("vcpus"):
        root.remove(old)


def _amend_topology(root: etree._Element, before: DomainSpec, spec: DomainSpec) -> None:
    wanted = (spec.sockets, spec.cores, spec.threads)
    cpu = root.find("cpu")
    changed = wanted != (before.sockets, before.cores, before.threads)
    count_changed = (before.vcpus_max or before.vcpus) != (spec.vcpus_max or spec.vcpus)
    if not changed and not count_changed:
        return
    old = cpu.find("topology") if cpu is not None else None
    if cpu is not None and old is not None:
        cpu.remove(old)
    if any(wanted) and changed:
        cpu = add(root, "cpu") if cpu is None else cpu
        add(cpu, "topology", sockets=spec.sockets, cores=spec.cores, threads=spec.threads)


def _amend_os(root: etree._Element, before: DomainSpec, spec: DomainSpec) -> None:
    os = root.find("os")
    if os is None:
        return
    for tag in ("kernel", "initrd", "cmdline"):
        if getattr(before, tag) != getattr(spec, tag):
            _set_or_drop(os, tag, getattr(spec, tag))
    if before.boot_order != spec.boot_order:
        for old in [*os.findall("boot"), *root.findall("devices/*/boot")]:  # libvirt refuses the two kinds together
            parent = old.getparent()
            if parent is not None:
                parent.remove(old)
        for device in spec.boot_order:
            add(os, "boot", dev=device)


def _amend_metadata(root: etree._Element, spec: DomainSpec) -> None:
    metadata = root.find("metadata")
    if metadata is None:
        metadata = add(root, "metadata")
    for old in metadata.findall(f"{{{NAMESPACE}}}domain"):
        metadata.remove(old)
    metadata.append(metadata_element(spec.metadata))


def _amend_disks(devices: etree._Element, before: DomainSpec, spec: DomainSpec) -> None:
    elements = {_attribute(each, "target", "dev"): each for each in devices.findall("disk")}
    _replace(
        devices, elements, {disk.target: disk for disk in before.disks}, {disk.target: disk for disk in spec.disks}, add_disk, _amend_disk
    )


def _amend_disk(element: etree._Element, old: DiskSpec, new: DiskSpec) -> bool:
    if (old.bus, old.device) != (new.bus, new.device):
        return False
    if old.source != new.source or (new.remote is not None and old.remote != new.remote):
        if element.get("type") not in ("file", "block", "network"):
            return False
        set_source(element, new.source, new.remote)
    driver = element.find("driver")
    if driver is not None and new.device == "disk":
        for name, was, wanted in (
            ("type", old.format, new.format),
            ("cache", old.cache, new.cache),
            ("discard", old.discard, new.discard),
        ):
            if was != wanted and wanted:
                driver.set(name, wanted)
    if (old.io_iops, old.io_bytes) != (new.io_iops, new.io_bytes):
        set_limits(element, new)
    for tag in ("readonly", "shareable"):
        if getattr(old, tag) != getattr(new, tag) and new.device == "disk":
            flag = element.find(tag)
            if flag is None:
                add(element, tag)
            else:
                element.remove(flag)
    if old.serial != new.serial:
        _set_or_drop(element, "serial", new.serial)
    return True


def _amend_nics(devices: etree._Element, before: DomainSpec, spec: DomainSpec) -> None:
    elements = {_attribute(each, "mac", "address").lower(): each for each in devices.findall("interface")}
    _replace(devices, elements, {nic.mac: nic for nic in before.nics}, {nic.mac: nic for nic in spec.nics}, add_nic, _amend_nic)


def _amend_nic(element: etree._Element, old: NicSpec, new: NicSpec) -> bool:
    if (old.network, old.bridge) != (new.network, new.bridge):
        for source in element.findall("source"):
            element.remove(source)
        element.set("type", "bridge" if new.bridge else "network")
        add(element, "source", bridge=new.bridge, network="" if new.bridge else new.network)
        for stale in ("virtualport", "vlan", "target"):
            for each in element.findall(stale):
                element.remove(each)
    if old.model != new.model and new.model:
        model = element.find("model")
        (add(element, "model") if model is None else model).set("type", new.model)
    if old.link_up != new.link_up:
        for link in element.findall("link"):
            element.remove(link)
        if not new.link_up:
            add(element, "link", state="down")
    if old.alias != new.alias:
        for alias in element.findall("alias"):
            element.remove(alias)
        if new.alias:
            add(element, "alias", name=f"ua-{new.alias}")
    return True


def _replace(
    devices: etree._Element,
    elements: dict[str, etree._Element],
    before: dict,
    wanted: dict,
    make: Callable,
    amend: Callable,
) -> None:
    """Bring the elements of one kind to what is wanted: amend where possible, else make anew; drop what is not wanted."""
    for key, element in elements.items():
        if key not in wanted:
            devices.remove(element)
    for key, item in wanted.items():
        found = elements.get(key)
        if found is not None and (before[key] == item or amend(found, before[key], item)):
            continue
        if found is not None:
            devices.remove(found)
        make(devices, item)


def _attribute(element: etree._Element, path: str, name: str) -> str:
    found = element.find(path)
    return found.get(name, "") if found is not None else ""
