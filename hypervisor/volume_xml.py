"""Volumes: spec in, XML out, and back. Pools are in pool_xml."""

from lxml import etree

from .spec import VolumeSpec
from .xmltools import add, attribute, parse, render, size, text


def volume_to_xml(spec: VolumeSpec) -> str:
    """The XML that creates this volume; it takes space as the guest writes, unless it is thick."""
    root = etree.Element("volume")
    add(root, "name", spec.name)
    add(root, "capacity", spec.capacity, unit="bytes")
    add(root, "allocation", spec.capacity if spec.thick else 0, unit="bytes")
    target = add(root, "target")
    add(target, "format", type=spec.format)
    if spec.format == "qcow2":
        add(target, "compat", "1.1")
    if spec.backing_path:
        backing = add(root, "backingStore")
        add(backing, "path", spec.backing_path)
        add(backing, "format", type=spec.backing_format or "qcow2")
    return render(root)


def volume_from_xml(xml: str) -> VolumeSpec:
    """Read a volume's XML.

    Raises:
        BadXml
    """
    root = parse(xml, "volume")
    backing = text(root, "backingStore/path")
    return VolumeSpec(
        name=text(root, "name"),
        capacity=size(root, "capacity", "bytes"),
        format=attribute(root, "target/format", "type", "raw"),
        backing_path=backing,
        backing_format=attribute(root, "backingStore/format", "type") if backing else "",
    )


def written_from_xml(xml: str) -> str:
    """A volume's time of last change, empty when its XML has none. Raises BadXml."""
    return text(parse(xml, "volume"), "target/timestamps/mtime")
