"""Storage pools of every kind: spec in, XML out, and back."""

from lxml import etree

from .spec import PoolSpec
from .xmltools import add, attribute, parse, render, text

# With these libvirt makes the directory where it mounts or looks; building any other kind would write over a device.
BUILT = ("dir", "netfs")
KINDS = (*BUILT, "iscsi-direct", "rbd", "logical", "zfs", "scsi")
# Attribute or element of <source> that says which part of the storage it is.
_DEVICE = ("iscsi-direct",)
_NAME = ("rbd", "logical", "zfs")


def split_host(host: str) -> tuple[str, str]:
    """("name", "port"), the port empty when it says none; an IPv6 address loses its brackets."""
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    return name.strip("[]"), port


def join_host(name: str, port: str) -> str:
    shown = f"[{name}]" if ":" in name else name
    return f"{shown}:{port}" if port else shown


def add_hosts(parent: etree._Element, hosts: tuple[str, ...]) -> None:
    """A <host> for each."""
    for host in hosts:
        name, port = split_host(host)
        add(parent, "host", name=name, port=port)


def hosts_in(parent: etree._Element) -> tuple[str, ...]:
    return tuple(join_host(host.get("name", ""), host.get("port", "")) for host in parent.findall("host"))


def pool_to_xml(spec: PoolSpec) -> str:
    """The XML that defines this pool.

    Raises:
        ValueError: a kind that we cannot make.
    """
    if spec.kind not in KINDS:
        raise ValueError(f"pools of kind {spec.kind!r} cannot be made")
    root = etree.Element("pool", type=spec.kind)
    add(root, "name", spec.name)
    if spec.uuid:
        add(root, "uuid", spec.uuid)
    if spec.kind != "dir":
        _add_source(add(root, "source"), spec)
    if spec.path:
        add(add(root, "target"), "path", spec.path)
    return render(root)


def _add_source(source: etree._Element, spec: PoolSpec) -> None:
    add_hosts(source, spec.hosts)
    if spec.kind == "netfs":
        add(source, "dir", path=spec.source)
        add(source, "format", type=spec.format)
    elif spec.kind in _DEVICE:
        add(source, "device", path=spec.source)
    elif spec.kind == "scsi":
        add(source, "adapter", type="fc_host", wwnn=spec.wwnn, wwpn=spec.wwpn)
    if spec.initiator:
        add(add(source, "initiator"), "iqn", name=spec.initiator)
    if spec.kind in _NAME:
        add(source, "name", spec.source)
    if spec.user:
        auth = add(source, "auth", type="chap" if spec.kind == "iscsi-direct" else "ceph", username=spec.user)
        add(auth, "secret", uuid=spec.secret)


def pool_from_xml(xml: str) -> PoolSpec:
    """Read a pool's XML.

    Raises:
        BadXml
    """
    root = parse(xml, "pool")
    kind = root.get("type", "")
    source = root.find("source")
    if source is None or kind == "dir":  # libvirt gives a directory an empty one
        return PoolSpec(text(root, "name"), text(root, "target/path"), text(root, "uuid").strip(), kind)
    where = {"netfs": attribute(source, "dir", "path"), "iscsi-direct": attribute(source, "device", "path")}
    return PoolSpec(
        name=text(root, "name"),
        path=text(root, "target/path"),
        uuid=text(root, "uuid").strip(),
        kind=kind,
        hosts=hosts_in(source),
        source=where.get(kind, text(source, "name")),
        format=attribute(source, "format", "type") if kind == "netfs" else "",
        initiator=attribute(source, "initiator/iqn", "name"),
        user=attribute(source, "auth", "username"),
        secret=attribute(source, "auth/secret", "uuid"),
        wwnn=attribute(source, "adapter", "wwnn"),
        wwpn=attribute(source, "adapter", "wwpn"),
    )


def same_place(one: PoolSpec, other: PoolSpec) -> bool:
    """Whether two pools lie on the same storage, whatever they are called and whoever signs in."""

    def place(spec: PoolSpec) -> tuple[object, ...]:
        return (
            spec.kind,
            spec.path.rstrip("/"),
            {split_host(host)[0] for host in spec.hosts},
            spec.source,
            spec.wwnn.lower(),
            spec.wwpn.lower(),
        )

    return place(one) == place(other)
