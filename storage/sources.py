"""Where libvirt finds a domain's pool, and QEMU a disk: from rows to frozen specs. Pure over loaded rows."""

from typing import Any

from hypervisor.pool_xml import split_host
from hypervisor.spec import NetworkSource, PoolSpec
from storage.models import Disk, StorageDomain, StorageKind

MOUNTS = "/var/lib/vireo/mnt"
_CEPH_PORT = "6789"
_ISCSI_PORT = "3260"


def _with_port(host: str, port: str) -> str:
    return host if split_host(host)[1] else f"{host}:{port}"


def hosts_of(domain: StorageDomain) -> tuple[str, ...]:
    """The storage's own hosts."""
    source = domain.source
    match domain.kind:
        case StorageKind.RBD:
            return tuple(_with_port(monitor.strip(), _CEPH_PORT) for monitor in source["monitors"].split(","))
        case StorageKind.ISCSI:
            return (_with_port(source["portal"], _ISCSI_PORT),)
        case StorageKind.NFS | StorageKind.GLUSTER:
            return (source["server"],)
    return ()


def pool_of(domain: StorageDomain) -> PoolSpec:
    """libvirt's pool of the domain, the same on every host."""
    source, what = domain.source, ""
    match domain.kind:
        case StorageKind.NFS:
            what = source["export"]
        case StorageKind.GLUSTER:
            what = f"/{source['volume']}"
        case StorageKind.ISCSI:
            what = source["target"]
        case StorageKind.RBD:
            what = source["ceph_pool"]
        case StorageKind.LOGICAL:
            what = source["group"]
        case StorageKind.ZFS:
            what = source["zpool"]
    user = source.get("user", "") if domain.secret else ""
    return PoolSpec(
        name=domain.pool_name,
        uuid=str(domain.pk),
        path=domain.path,
        kind=domain.traits.pool,
        hosts=hosts_of(domain),
        source=what,
        format={StorageKind.NFS: "nfs", StorageKind.GLUSTER: "glusterfs"}.get(StorageKind(domain.kind), ""),
        initiator=source.get("initiator", ""),
        user=user,
        secret=str(domain.pk) if user else "",
        wwnn=source.get("wwnn", ""),
        wwpn=source.get("wwpn", ""),
    )


def target_path(kind: str, domain_id: Any, path: str, source: dict[str, str]) -> str:
    """The pool's path on a host: the user's directory, our mount point, the volume group's devices."""
    match kind:
        case StorageKind.NFS | StorageKind.GLUSTER:
            return f"{MOUNTS}/{domain_id}"
        case StorageKind.LOGICAL:
            return f"/dev/{source['group']}"
        case StorageKind.FC:
            return "/dev/disk/by-path"
    return path


def remote_of(disk: Disk) -> NetworkSource | None:
    """How QEMU reaches the disk over the network; None: by its path on the host."""
    domain = disk.domain
    if domain is None or not disk.path:
        return None
    user = domain.source.get("user", "") if domain.secret else ""
    secret = str(domain.pk) if user else ""
    if domain.kind == StorageKind.RBD:
        return NetworkSource("rbd", f"{domain.source['ceph_pool']}/{disk.volume_name}", hosts_of(domain), user, secret)
    if domain.kind == StorageKind.ISCSI:
        lun = disk.volume_name.rpartition(":")[2]  # libvirt calls a target's volumes unit:0:0:LUN
        return NetworkSource("iscsi", f"{domain.source['target']}/{lun}", hosts_of(domain), user, secret, domain.source["initiator"])
    return None


def source_of(disk: Disk) -> dict[str, Any]:
    """DiskSpec's `source` and `remote` of a disk."""
    remote = remote_of(disk)
    return {"source": str(remote) if remote else disk.path, "remote": remote}
