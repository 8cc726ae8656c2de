"""The kinds of storage domains: what each asks for, what it can do, and what a host needs to have it. Pure: no models, no libvirt."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from portal.errors import FieldError

# A pool takes over its directory: these belong to the system.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr")  # noqa: S108  # nosec B108 # refused, not used
_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+){2,}")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_PORTAL = rf"{_HOST}(?::[1-9][0-9]{{0,4}})?"
_IQN = r"(?:iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(?::[A-Za-z0-9._:-]+)?|eui\.[0-9A-Fa-f]{16})"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}"
SECRET_BYTES = 1024


@dataclass(frozen=True)
class SourceField:
    """One thing that a kind's form asks for.

    Args:
        pattern: what the whole text must match.
        wrong: the sentence when it does not.
        secret: stored encrypted, never shown again.
    """

    name: str
    label: str
    pattern: str
    wrong: str
    help: str = ""
    required: bool = True
    secret: bool = False
    initial: str = ""

    def clean(self, text: str) -> str:
        """The text, checked. Raises FieldError at this field."""
        value = text if self.secret else text.strip()
        if not value:
            if self.required:
                raise FieldError(self.name, "This is needed.")
            return ""
        if len(value) > 1024 or not re.fullmatch(self.pattern, value):
            raise FieldError(self.name, self.wrong)
        return value


def _host_field(name: str, label: str, help: str) -> SourceField:
    return SourceField(name, label, _PORTAL, "Give a host's name or address, with :port when it is not the usual one.", help)


_SERVER = SourceField("server", "Server", _HOST, "Give the server's name or address.", "As the hosts reach it.")
_EXPORT = SourceField(
    "export", "Exported directory", r"(/[A-Za-z0-9._+@-]+)+", "Give the exported directory's absolute path.", "Such as /exports/vms."
)
_VOLUME = SourceField("volume", "Volume", _WORD, "Give the Gluster volume's name.", "The Gluster volume's name, such as vms.")
_PORTAL_FIELD = _host_field("portal", "Portal", "The target's address; port 3260 when you give none.")
_TARGET = SourceField("target", "Target", _IQN, "Give the target's IQN, such as iqn.2026-01.org.example:storage.", "The target's IQN.")
_INITIATOR = SourceField(
    "initiator",
    "Initiator",
    _IQN,
    "Give an IQN, such as iqn.2026-01.org.example:vireo.",
    "The IQN that the hosts present themselves with; the target must admit it.",
)
_CHAP_USER = SourceField("user", "CHAP user", r"[!-~]{1,255}", "Give the user's name without blanks.", "Empty: no CHAP.", required=False)
_CHAP_SECRET = SourceField("secret", "CHAP secret", r"[ -~]+", "A secret is of plain characters.", required=False, secret=True)
_MONITORS = SourceField(
    "monitors",
    "Monitors",
    rf"{_PORTAL}(?:\s*,\s*{_PORTAL}){{0,15}}",
    "Give the monitors' names or addresses, with commas between them.",
    "Ceph monitors with commas between them; port 6789 when you give none.",
)
_CEPH_POOL = SourceField("ceph_pool", "Ceph pool", _WORD, "Give the Ceph pool's name.", "A pool for RBD images, such as rbd.")
_CEPH_USER = SourceField(
    "user",
    "Ceph user",
    _WORD,
    "Give the user's name without “client.”.",
    "Without “client.”; empty: the cluster asks for none.",
    required=False,
)
_CEPH_KEY = SourceField(
    "secret", "Key", r"[A-Za-z0-9+/]+={0,2}", "A Ceph key is base64 text.", "As “ceph auth get-key” prints it.", required=False, secret=True
)
_GROUP = SourceField("group", "Volume group", _WORD, "Give the volume group's name.", "It exists on every host that shall have the domain.")
_ZPOOL = SourceField(
    "zpool",
    "ZFS pool",
    r"[A-Za-z][A-Za-z0-9._-]*(?:/[A-Za-z0-9._-]+)*",
    "Give the pool's or dataset's name.",
    "A pool or dataset, such as tank/vms.",
)
_WWN = r"[0-9A-Fa-f]{16}"
_WWNN = SourceField("wwnn", "Node name (WWNN)", _WWN, "Give 16 hexadecimal digits.", "Of the virtual adapter (NPIV).")
_WWPN = SourceField(
    "wwpn", "Port name (WWPN)", _WWN, "Give 16 hexadecimal digits.", "Of the virtual adapter; the fabric's zoning admits it."
)
_DIRECTORY = SourceField(
    "path", "Directory", r".*", "Give the directory's absolute path.", "The directory's path on the hosts, made when it is missing."
)
_SAME_DIRECTORY = SourceField(
    "path", "Directory", r".*", "Give the directory's absolute path.", "Where every host has mounted the same file system."
)


@dataclass(frozen=True)
class Kind:
    """A kind of storage domain.

    Args:
        pool: libvirt's type of storage pool.
        shared: every host sees the same volumes.
        fields: what the form asks for.
        formats: of new disks; block devices and RBD images are raw.
        makes: volumes can be made and removed by us; otherwise the storage's own LUNs are taken in as disks.
        resizes, thin: what a volume can do.
        files: volumes are files, so they can be copied from and into by libvirt, backed by each other, and hold ISO images.
        needs: what a host must have, a sentence for the page; empty: nothing beyond libvirt.
        summary: one line for whoever chooses.
    """

    key: str
    title: str
    summary: str
    pool: str
    shared: bool
    fields: tuple[SourceField, ...]
    formats: tuple[str, ...] = ("qcow2", "raw")
    makes: bool = True
    resizes: bool = True
    thin: bool = True
    files: bool = True
    needs: str = ""

    @property
    def has_path(self) -> bool:
        """The user says which directory it is."""
        return any(field.name == "path" for field in self.fields)

    def clean(self, values: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """What was typed, checked: (what may be shown, the secret). Raises FieldError at the field at fault."""
        shown, secret = {}, ""
        for field in self.fields:
            if field.name == "path":
                continue
            value = field.clean(values.get(field.name) or "")
            if field.secret:
                secret = value
            elif value:
                shown[field.name] = value
        if secret and not shown.get("user"):
            raise FieldError("user", "A secret needs the user whom it belongs to.")
        return shown, secret


KINDS: dict[str, Kind] = {
    kind.key: kind
    for kind in (
        Kind("local_dir", "Local directory", "A directory on each host, each with its own disks.", "dir", False, (_DIRECTORY,)),
        Kind(
            "shared_dir",
            "Shared directory",
            "A directory where every host has the same file system mounted already.",
            "dir",
            True,
            (_SAME_DIRECTORY,),
            needs="The file system is mounted at this path on every host by the host itself.",
        ),
        Kind(
            "nfs",
            "NFS",
            "An exported directory, mounted by the hosts.",
            "netfs",
            True,
            (_SERVER, _EXPORT),
            needs="Every host has the package nfs-common and a kernel with an NFS client.",
        ),
        Kind(
            "iscsi",
            "iSCSI",
            "A target's LUNs, each taken in as one disk; QEMU talks to the target itself.",
            "iscsi-direct",
            True,
            (_PORTAL_FIELD, _TARGET, _INITIATOR, _CHAP_USER, _CHAP_SECRET),
            formats=("raw",),
            makes=False,
            resizes=False,
            thin=False,
            files=False,
            needs="Every host has libvirt-daemon-driver-storage-iscsi-direct and qemu-block-extra. New LUNs are made on the storage itself.",
        ),
        Kind(
            "fc",
            "Fibre Channel",
            "The LUNs that a fabric shows to the hosts, each taken in as one disk.",
            "scsi",
            True,
            (_WWNN, _WWPN),
            formats=("raw",),
            makes=False,
            resizes=False,
            thin=False,
            files=False,
            needs="Every host has a Fibre Channel adapter with NPIV, and package libvirt-daemon-driver-storage-scsi where that is separate.",
        ),
        Kind(
            "logical",
            "LVM",
            "A volume group on each host, each with its own disks.",
            "logical",
            False,
            (_GROUP,),
            formats=("raw",),
            resizes=True,
            thin=False,
            files=False,
            needs="Every host has the package lvm2, a kernel with device-mapper, and the volume group.",
        ),
        Kind(
            "rbd",
            "Ceph RBD",
            "A pool of a Ceph cluster; each disk is an RBD image.",
            "rbd",
            True,
            (_MONITORS, _CEPH_POOL, _CEPH_USER, _CEPH_KEY),
            formats=("raw",),
            files=False,
            needs="Every host has libvirt-daemon-driver-storage-rbd and qemu-block-extra, and reaches monitors and OSDs.",
        ),
        Kind(
            "gluster",
            "Gluster",
            "A Gluster volume, mounted by the hosts.",
            "netfs",
            True,
            (_SERVER, _VOLUME),
            needs="Every host has the package glusterfs-client and reaches all bricks.",
        ),
        Kind(
            "zfs",
            "ZFS",
            "A ZFS pool on each host, each with its own disks.",
            "zfs",
            False,
            (_ZPOOL,),
            formats=("raw",),
            files=False,
            needs="Every host has libvirt-daemon-driver-storage-zfs, zfsutils-linux with its kernel module, and the pool.",
        ),
    )
}


MAKING = tuple(key for key, kind in KINDS.items() if kind.makes)
# Their servers keep the locks of an open file, and refuse the writes of a client whose locks they took away.
LOCKING = ("shared_dir", "nfs")
KEEPING_FILES = tuple(key for key, kind in KINDS.items() if kind.files)


def valid_path(text: str) -> str:
    """A directory's absolute path in one spelling. Raises FieldError."""
    path = text.strip()
    if len(path) > 1 and path.endswith("/"):
        path = path.rstrip("/")
    if not path.startswith("/"):
        raise FieldError("path", "Give the directory's absolute path, such as /var/lib/vireo/disks.")
    if len(path) > 1024 or {".", ".."} & set(path.split("/")) or not _PATH.fullmatch(path):
        raise FieldError("path", "Give a plain path below the top level, of letters, digits and . _ + @ - only.")
    if any(path == top or path.startswith(top + "/") for top in _SYSTEM):
        raise FieldError("path", f"{path} belongs to the host's system.")
    return path
