"""What Vireo asks of a host, as frozen values: domains, disks, NICs, displays, pools, volumes, networks.

They know no libvirt and no database; domain_xml, volume_xml and network_xml turn them into XML and back.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Metadata:
    """What we write into a domain to know it again, in namespace urn:vireo:domain:1."""

    vm_id: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkSource:
    """A disk that QEMU reaches over the network by itself.

    Args:
        protocol: "rbd", "iscsi", "gluster", …
        name: "pool/image", "iqn/lun", "volume/path".
        hosts: each "name" or "name:port".
        user, secret: whom it signs in as, and the UUID of libvirt's secret that proves it.
        initiator: our IQN, for iSCSI.
    """

    protocol: str
    name: str
    hosts: tuple[str, ...] = ()
    user: str = ""
    secret: str = ""
    initiator: str = ""

    def __str__(self) -> str:
        return f"{self.protocol}:{self.name}"


@dataclass(frozen=True)
class DiskSpec:
    """A disk or CD drive.

    Args:
        source: path on the host, or str(remote) of a network disk; "" is an empty CD drive.
        remote: where a network disk lies; None: `source` is a file or a block device.
        target: the guest's slot, unique in a domain: vda, sda, ...
        bus: virtio, scsi, sata, usb, ide.
        device: "disk" or "cdrom".
        format: "qcow2" or "raw"; always "raw" in a CD drive.
        serial: shown to the guest (at most 20 characters reach it on virtio).
        io_iops: total operations a second, 0 is unlimited.
        io_bytes: total bytes a second, 0 is unlimited.
    """

    source: str
    target: str
    bus: str = "virtio"
    device: str = "disk"
    format: str = "qcow2"
    serial: str = ""
    cache: str = "none"
    discard: str = "unmap"
    readonly: bool = False
    shareable: bool = False
    io_iops: int = 0
    io_bytes: int = 0
    remote: NetworkSource | None = None


@dataclass(frozen=True)
class NicSpec:
    """A network interface on a libvirt network, or, in domains that we adopted, on a bridge.

    Args:
        mac: lower case, unique; the NIC's identity.
        network: libvirt network's name, "" when `bridge` says it.
        alias: our id of the NIC; libvirt keeps it as "ua-<alias>".
        bridge: bridge on the host, instead of a network.
    """

    mac: str
    network: str
    model: str = "virtio"
    link_up: bool = True
    alias: str = ""
    bridge: str = ""


@dataclass(frozen=True)
class GraphicsSpec:
    """A VNC display.

    Args:
        password: at most 8 characters (VNC's own limit); "" leaves it to the host's qemu.conf.
        listen: address on the host; "" leaves it to the host's qemu.conf.
        port: read back from a running domain, 0 otherwise; never written.
    """

    password: str = field(default="", repr=False)
    listen: str = ""
    port: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class DomainSpec:
    """A whole virtual machine.

    Args:
        uuid: in lower case with dashes.
        memory_mib: memory at start; the balloon moves between 0 and memory_max_mib.
        memory_max_mib: None: the same as memory_mib.
        vcpus_max: None: the same as vcpus.
        sockets, cores, threads: all 0: libvirt's choice; otherwise their product is vcpus_max.
        cpu_mode: "custom", "host-model", "host-passthrough", or "" for the hypervisor's default.
        cpu_model: only with "custom".
        virt_type: "qemu" (emulation), "kvm" or "test".
        machine: "q35", "pc" or a full name; compared by family in `drift`.
        firmware: "bios", "efi" or "efi-secure".
        boot_order: of "hd", "cdrom", "network", "fd".
        kernel, initrd, cmdline: direct boot, paths on the host.
        graphics: None: no display.
        serial: a serial console.
        agent: a channel for qemu-guest-agent.
        clipboard: a channel for spice-vdagent, which shares the guest's clipboard with the display's viewers.
        video: "virtio", "vga", or "" for none.
        watchdog: action ("reset", "poweroff", "pause", "none"), "" for no watchdog.
    """

    uuid: str
    name: str
    memory_mib: int
    vcpus: int = 1
    title: str = ""
    description: str = ""
    memory_max_mib: int | None = None
    vcpus_max: int | None = None
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    cpu_mode: str = "custom"
    cpu_model: str = "qemu64"
    virt_type: str = "qemu"
    machine: str = "q35"
    arch: str = "x86_64"
    firmware: str = "bios"
    boot_order: tuple[str, ...] = ("hd", "cdrom")
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    graphics: GraphicsSpec | None = GraphicsSpec()
    serial: bool = True
    agent: bool = True
    clipboard: bool = False
    rng: bool = True
    balloon: bool = True
    video: str = "virtio"
    tablet: bool = True
    watchdog: str = ""
    metadata: Metadata = Metadata()


@dataclass(frozen=True)
class PoolSpec:
    """A storage pool of libvirt's.

    Args:
        path: directory or mount point on the host; "" where volumes are no files.
        uuid: "" lets libvirt choose.
        kind: "dir", "netfs", "iscsi-direct", "rbd", "logical", "zfs" or "scsi".
        hosts: of the storage, each "name" or "name:port".
        source: what it is there: the exported directory, the target's IQN, the Ceph pool, the volume group, the ZFS pool.
        format: of a "netfs": "nfs" or "glusterfs".
        initiator: our IQN, for iSCSI.
        user, secret: whom it signs in as, and the UUID of libvirt's secret that proves it.
        wwnn, wwpn: of a Fibre Channel adapter.
    """

    name: str
    path: str
    uuid: str = ""
    kind: str = "dir"
    hosts: tuple[str, ...] = ()
    source: str = ""
    format: str = ""
    initiator: str = ""
    user: str = ""
    secret: str = ""
    wwnn: str = ""
    wwpn: str = ""


@dataclass(frozen=True)
class VolumeSpec:
    """A volume in a pool.

    Args:
        capacity: in bytes, as the guest sees it.
        format: "qcow2" or "raw".
        backing_path: file on the host that this one is a thin copy of.
        thick: all its space is taken at once; a logical volume knows no other way.
    """

    name: str
    capacity: int
    format: str = "qcow2"
    backing_path: str = ""
    backing_format: str = ""
    thick: bool = False


@dataclass(frozen=True)
class NetworkSpec:
    """A libvirt network with a bridge of its own.

    Args:
        uuid: "" lets libvirt choose.
        bridge: at most 15 characters; "" lets libvirt choose.
        forward: "" (isolated) or "nat".
        address: the host's address and prefix, as "192.168.100.1/24"; "" for none.
        dhcp_start, dhcp_end: range of leases; both or none.
        mtu: 0 leaves it to the host.
    """

    name: str
    uuid: str = ""
    bridge: str = ""
    forward: str = ""
    address: str = ""
    dhcp_start: str = ""
    dhcp_end: str = ""
    mtu: int = 0
