"""One host of the lab: its files, its namespaces, its daemons."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509

from hosts.pki import CertificateAuthority
from lab import namespaces
from lab.namespaces import LabError, run

TLS_PORT = 16514
START_SECONDS = 30
# Directories of the system that a host sees its own of. The mount points must exist on the machine.
OWN = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "log": "/var/log/libvirt", "pki": "/etc/pki"}
# What libvirtd found out about QEMU, in 8 s on 2 busy cores: the hosts of a lab are one machine and need not each ask again.
CACHE_POINT = "/var/cache/libvirt"
SHARED_POINT, LOCAL_POINT = "/var/lib/vireo/shared", "/var/lib/vireo/local"
# Where virtlockd keeps the leases of disks: a directory that all hosts of the lab have. QEMU's own locks on an image end at
# bindfs, which carries the lab's shared directory.
LEASES_POINT = "/var/lib/vireo/leases"

LIBVIRTD_CONF = """listen_tls = 1
listen_tcp = 0
listen_addr = "{address}"
tls_port = "{port}"
auth_tls = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
max_clients = 500
max_workers = 20
keepalive_interval = 5
log_level = 3
"""
LAST_CERTIFICATE_FILE = "qemu/client-key.pem"  # written last: where it is, the others are
QEMU_CONF = """security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
vnc_listen = "{address}"
migration_address = "{address}"
default_tls_x509_cert_dir = "/etc/pki/qemu"
lock_manager = "lockd"
"""
QEMU_LOCKD_CONF = f"""auto_disk_leases = 1
file_lockspace_dir = "{LEASES_POINT}"
"""


# libvirtd looks its default user up even when qemu.conf names another; the machine's own accounts stay as they are.
ACCOUNTS = {
    "passwd": "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",  # nosec B105 # a line of passwd, without one
    "group": "libvirt-qemu:x:64055:\nkvm:x:64056:\n",
}


class NodeState(StrEnum):
    UP = "up"
    DOWN = "down"
    FROZEN = "frozen"
    CUT = "cut"


@dataclass(frozen=True)
class Wiring:
    """Names in the kernel; an interface's holds 15 characters.

    `mac` stays the same for good: with a new one, a host that comes back is not reached until the others' ARP entries expire.
    """

    netns: str
    outside: str
    bridge: str
    prefix: int
    mac: str


class Node:
    def __init__(self, name: str, address: str, root: Path, shared: Path, wiring: Wiring, ca: CertificateAuthority) -> None:
        self.name, self.address, self.root, self.shared, self.wiring, self.ca = name, address, root, shared, wiring, ca

    @property
    def uri(self) -> str:
        return f"qemu+tls://{self.address}/system?pkipath={self.ca.client_dir()}"

    @property
    def hardware_uuid(self) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"vireo-lab:{self.root}")

    @property
    def _cache(self) -> Path:
        return self.root.parent / "cache"

    @property
    def _leases(self) -> Path:
        return self.root.parent / "leases"

    def libvirtd_pid(self) -> int:
        """0 when none runs."""
        pids = namespaces.find(self.wiring.netns, "libvirtd")
        return min(pids, default=0)

    def is_alive(self) -> bool:
        return bool(self.libvirtd_pid()) and bool(self._holder())

    def state(self) -> NodeState:
        if not self.is_alive():
            return NodeState.DOWN
        if namespaces.is_stopped(self.libvirtd_pid()):
            return NodeState.FROZEN
        flags = run("ip", "-o", "link", "show", self.wiring.outside, check=False).stdout.partition("<")[2].partition(">")[0]
        return NodeState.UP if "UP" in flags.split(",") else NodeState.CUT

    def _holder(self) -> int:
        """The process that keeps the mount namespace: a `sleep` started by `_unshare`."""
        return min(namespaces.find(self.wiring.netns, "sleep"), default=0)

    # -- up and down

    def up(self) -> None:
        """Makes what is missing; a healthy host is left alone."""
        if not self._holder() or self._has_moved():
            self.down()
            self._write_files()
            run("ip", "netns", "add", self.wiring.netns)
            self._unshare()
        elif not self._has_certificate():
            self.write_certificates(self.ca)
            self.stop_libvirtd()  # it reads them when it starts; the guests run on
        self._wire()
        self._start_daemons()

    def _has_moved(self) -> bool:
        """Whether it listens at an address of an earlier subnet."""
        config = self.root / "etc/libvirtd.conf"
        return not config.exists() or f'listen_addr = "{self.address}"\n' not in config.read_text()

    def down(self) -> None:
        """Ends every process in the host's namespace, and the namespace."""
        namespaces.end(namespaces.pids_in(self.wiring.netns))
        if namespaces.exists(self.wiring.netns):
            run("ip", "netns", "del", self.wiring.netns)
        run("ip", "link", "del", self.wiring.outside, check=False)

    def _write_files(self) -> None:
        for name in (*OWN, "local"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._cache.mkdir(exist_ok=True)
        self._leases.mkdir(exist_ok=True)
        for point in (*OWN.values(), CACHE_POINT, SHARED_POINT, LOCAL_POINT, LEASES_POINT):
            Path(point).mkdir(parents=True, exist_ok=True)
        values = {"address": self.address, "port": TLS_PORT, "uuid": self.hardware_uuid}
        (self.root / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF.format(**values))
        (self.root / "etc/qemu.conf").write_text(QEMU_CONF.format(**values))
        (self.root / "etc/qemu-lockd.conf").write_text(QEMU_LOCKD_CONF)
        (self.root / "etc/virtlogd.conf").touch()
        (self.root / "etc/virtlockd.conf").touch()
        for name, line in ACCOUNTS.items():
            (self.root / name).write_text(Path("/etc", name).read_text() + line)
        for log in (self.root / "log").rglob("*.log"):
            log.unlink()
        if not self._has_certificate():
            self.write_certificates(self.ca)

    def _has_certificate(self) -> bool:
        """Whether the last start left one of this CA for this address."""
        try:
            if (self.root / "pki/CA/cacert.pem").read_bytes() != self.ca.ca_pem:
                return False
            certificate = x509.load_pem_x509_certificate((self.root / "pki/libvirt/servercert.pem").read_bytes())
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            return False
        complete = all((self.root / "pki" / key).exists() for key in ("libvirt/private/serverkey.pem", LAST_CERTIFICATE_FILE))
        return complete and ip_address(self.address) in names.get_values_for_type(x509.IPAddress)

    def write_certificates(self, ca: CertificateAuthority) -> None:
        """A fresh pair from the given CA, where libvirt and QEMU look for it."""
        pair, pki = ca.issue_host(self.name, [self.address]), self.root / "pki"
        files = {
            "CA/cacert.pem": ca.ca_pem,
            "libvirt/servercert.pem": pair.cert_pem,
            "libvirt/clientcert.pem": pair.cert_pem,
            "libvirt/private/serverkey.pem": pair.key_pem,
            "libvirt/private/clientkey.pem": pair.key_pem,
            "qemu/ca-cert.pem": ca.ca_pem,
            "qemu/server-cert.pem": pair.cert_pem,
            "qemu/client-cert.pem": pair.cert_pem,
            "qemu/server-key.pem": pair.key_pem,
            LAST_CERTIFICATE_FILE: pair.key_pem,
        }
        (pki / LAST_CERTIFICATE_FILE).unlink(missing_ok=True)
        for name, content in files.items():
            path = pki / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(content)

    def _wire(self) -> None:
        """Plugs it in; safe to repeat, and it mends a link or a bridge that somebody removed."""
        wiring = self.wiring
        inside = ("ip", "-n", wiring.netns)
        if run("ip", "link", "show", wiring.outside, check=False).returncode:
            run("ip", "link", "add", wiring.outside, "type", "veth", "peer", "name", "eth0", "address", wiring.mac, "netns", wiring.netns)
        run("ip", "link", "set", wiring.outside, "master", wiring.bridge, "up")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "replace", f"{self.address}/{wiring.prefix}", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")

    def _unshare(self) -> None:
        """Own mounts and host name, held by a sleeping process; returns when they are all in place."""
        ready = self.root / "ready"
        ready.unlink(missing_ok=True)
        binds = [f"mount --bind '{self.root / name}' '{point}'" for name, point in OWN.items()]
        binds += [f"mount --bind '{self.root / name}' '/etc/{name}'" for name in ACCOUNTS]
        binds += [f"mount --bind '{self._cache}' '{CACHE_POINT}'"]
        binds += [f"mount --bind '{self._leases}' '{LEASES_POINT}'"]
        binds += [f"mount --bind '{self.root / 'local'}' '{LOCAL_POINT}'", _shared_mount(self.shared)]
        script = "\n".join(
            [
                "set -e",
                f"hostname {self.name}",
                "mount -t tmpfs tmpfs /run",
                "mkdir -p /run/lock",
                *binds,
                f"touch '{ready}'",
                "exec sleep infinity",
            ]
        )
        command = ["ip", "netns", "exec", self.wiring.netns, "unshare", "-m", "-u", "--propagation", "private", "sh", "-c", script]
        log = (self.root / "log" / "namespace.log").open("wb")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{self.name}: namespaces could not be made: {(self.root / 'log' / 'namespace.log').read_text().strip()}")
            time.sleep(0.02)

    def run_inside(self, *command: str) -> None:
        """Runs a command in the host's namespaces until it ends, or puts itself into the background as a daemon does."""
        holder = self._holder()
        if not holder:
            raise LabError(f"{self.name} is down")
        run("setsid", "nsenter", "-t", str(holder), "-m", "-u", "-n", *command)

    def _start_daemons(self) -> None:
        netns = self.wiring.netns
        for daemon in ("virtlogd", "virtlockd"):
            if not namespaces.find(netns, daemon):
                self.run_inside(daemon, "-d")
        self.start_libvirtd()

    # -- faults

    def start_libvirtd(self) -> None:
        """Starts it, or thaws it; returns when it answers over TLS."""
        if pid := self.libvirtd_pid():
            os.kill(pid, signal.SIGCONT)
        else:
            self.run_inside("libvirtd", "-d", "--listen")
        deadline = time.monotonic() + START_SECONDS
        while (answer := run("timeout", "3", "virsh", "-q", "-c", self.uri, "hostname", check=False)).returncode:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: libvirtd does not answer: {answer.stderr.strip()}\n{self._last_words()}")
            time.sleep(0.05)

    def _last_words(self) -> str:
        """The end of libvirtd's own log."""
        log = self.root / "log" / "libvirtd.log"
        return log.read_text(errors="replace")[-1500:] if log.exists() else f"There is no log in {log.parent}."

    def stop_libvirtd(self) -> None:
        """An orderly end: the guests run on."""
        namespaces.end(namespaces.find(self.wiring.netns, "libvirtd"), signal.SIGTERM, 20)

    def freeze_libvirtd(self) -> None:
        """It accepts connections (the kernel does) and never answers."""
        pid = self.libvirtd_pid()
        if not pid:
            raise LabError(f"{self.name}: no libvirtd runs")
        os.kill(pid, signal.SIGSTOP)
        namespaces.wait_until_stopped(pid)

    def kill(self) -> None:
        """As if the power went: every process of the host, its guests too."""
        namespaces.end(namespaces.pids_in(self.wiring.netns))

    def cut(self) -> None:
        """Its network alone."""
        run("ip", "link", "set", self.wiring.outside, "down")

    def purge(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def _shared_mount(source: Path) -> str:
    """A plain bind, or bindfs under Gluster's name where it is installed: libvirt then takes the directory for shared and lets VMs migrate."""
    if shutil.which("bindfs"):
        return f"bindfs -o subtype=glusterfs,direct_io,allow_other '{source}' '{SHARED_POINT}'"
    return f"mount --bind '{source}' '{SHARED_POINT}'"
