"""Storage servers on the lab's bridge, each a few processes of this machine with all files in one folder: iSCSI, Ceph, Gluster."""

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from lab.namespaces import LabError, run

SECONDS = 30.0


class Server(ABC):
    """Processes that are ended together; a context manager.

    Args:
        address: where it listens, the lab's gateway.
        root: its files.
    """

    def __init__(self, address: str, root: Path) -> None:
        self.address, self.root = address, root
        self.root.mkdir(parents=True, exist_ok=True)
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def start(self) -> None:
        """Brings it up; returns when it answers."""

    def stop(self) -> None:
        """Ends it as a power cut would."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self._processes.clear()

    def __enter__(self) -> "Server":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, *command: str) -> None:
        log = (self.root / f"{Path(command[0]).name}.log").open("ab")
        with log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root))

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise LabError(f"{what} did not come up within {SECONDS:.0f} s; see {self.root}")
            time.sleep(0.1)


class IscsiTarget(Server):
    """tgtd with one target and LUNs of these sizes, numbered from 1."""

    TARGET = "iqn.2026-01.lab.vireo:disks"
    INITIATOR = "iqn.2026-01.lab.vireo:hosts"

    def __init__(self, address: str, root: Path, luns: tuple[int, ...], user: str = "", secret: str = "") -> None:
        super().__init__(address, root)
        self.luns, self._user, self._secret = luns, user, secret
        self._control = str(os.getpid() % 30000 + 1)  # its socket's number, shared by all of the machine

    @property
    def portal(self) -> str:
        return f"{self.address}:3260"

    def start(self) -> None:
        self._spawn("tgtd", "-f", "--iscsi", f"portal={self.portal}", "-C", self._control)
        self._until(lambda: self._admin("--mode", "sys", "--op", "show", check=False) == 0, "tgtd")
        self._admin("--mode", "target", "--op", "new", "--tid", "1", "-T", self.TARGET)
        for number, size in enumerate(self.luns, 1):
            file = self.root / f"lun{number}"
            if not file.exists():
                file.touch()
                os.truncate(file, size)
            self._admin("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", str(number), "-b", str(file))
        if self._user:
            self._admin("--mode", "account", "--op", "new", "--user", self._user, "--password", self._secret)
            self._admin("--mode", "account", "--op", "bind", "--tid", "1", "--user", self._user)
        self._admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")

    def _admin(self, *arguments: str, check: bool = True) -> int:
        return run("tgtadm", "-C", self._control, "--lld", "iscsi", *arguments, check=check).returncode


class CephCluster(Server):
    """One monitor and one OSD that keeps all in memory, with a pool for RBD; nobody signs in."""

    POOL = "rbd"

    @property
    def monitor(self) -> str:
        return f"{self.address}:6789"

    @property
    def _conf(self) -> str:
        return str(self.root / "ceph.conf")

    def start(self) -> None:
        for folder in ("mon", "osd", "run"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
            (self.root / folder).mkdir()
        fsid = str(uuid4())
        settings = {
            "fsid": fsid,
            "mon host": f"v1:{self.monitor}",
            "mon initial members": "a",
            "auth cluster required": "none",
            "auth service required": "none",
            "auth client required": "none",
            "public network": f"{self.address}/32",
            "public addr": self.address,
            "run dir": str(self.root / "run"),
            "admin socket": str(self.root / "run/$name.asok"),
            "log file": str(self.root / "$name.log"),
            "mon data": str(self.root / "mon"),
            "osd data": str(self.root / "osd"),
            "mon data avail crit": "1",
            "mon data avail warn": "1",
            "osd objectstore": "memstore",
            "memstore device bytes": str(1 << 30),
            "osd pool default size": "1",
            "osd pool default min size": "1",
            "mon allow pool size one": "true",
            "osd pool default pg num": "8",
            "osd crush chooseleaf type": "0",
            "osd class update on start": "false",
            "osd class load list": "*",
            "osd class default list": "*",
            "mon max pg per osd": "1000",
        }
        lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
        (self.root / "ceph.conf").write_text("\n".join(lines) + "\n")
        monmap = str(self.root / "monmap")
        run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", f"[v1:{self.monitor}]", monmap)
        run("ceph-mon", "-c", self._conf, "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn("ceph-mon", "-c", self._conf, "-f", "-i", "a")
        self._until(lambda: self._ceph("quorum_status"), "ceph-mon")
        osd = str(uuid4())
        # A client that asks the monitor for settings first forgets the cluster's id until the monitor says it, and is refused
        # as of a "wrong fsid" where it is quicker with its first command. The OSD needs no such settings; of the others each
        # command may be said twice.
        self._until(lambda: self._ceph("osd", "new", osd, "0"), "ceph's record of its OSD")
        run("ceph-osd", "--no-mon-config", "-c", self._conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "--no-mon-config", "-c", self._conf, "-f", "-i", "0")
        for words in (("create", self.POOL, "8"), ("application", "enable", self.POOL, "rbd")):
            self._until(lambda words=words: self._ceph("osd", "pool", *words), "ceph's pool")  # type: ignore[misc]
        self._until(lambda: "1 up" in run("ceph", "-c", self._conf, "osd", "stat", check=False).stdout, "ceph-osd")

    def _ceph(self, *arguments: str) -> bool:
        """Whether it could be done."""
        return not run("ceph", "-c", self._conf, "--connect-timeout", "10", *arguments, check=False).returncode


class GlusterServer(Server):
    """glusterd with one volume of one brick."""

    VOLUME = "vms"

    def start(self) -> None:
        for folder in ("work", "brick", "run"):
            (self.root / folder).mkdir(exist_ok=True)
        volfile = self.root / "glusterd.vol"
        volfile.write_text(
            "volume management\n    type mgmt/glusterd\n"
            f"    option working-directory {self.root}/work\n    option run-directory {self.root}/run\n"
            "    option transport-type socket\n    option transport.address-family inet\n"
            f"    option transport.socket.bind-address {self.address}\n"
            f"    option transport.rdma.bind-address {self.address}\n"
            f"    option glusterd-sockfile {self._socket}\nend-volume\n"
        )
        self._spawn("glusterd", "-N", "-f", str(volfile), "-p", str(self.root / "pid"), "-l", str(self.root / "glusterd.log"))
        self._until(lambda: self._gluster("pool", "list", check=False) == 0, "glusterd")
        if self._gluster("volume", "info", self.VOLUME, check=False):
            self._gluster("volume", "create", self.VOLUME, f"{self.address}:{self.root}/brick", "force")
        self._gluster("volume", "start", self.VOLUME, "force")

    def stop(self) -> None:
        if self._processes:
            self._gluster("volume", "stop", self.VOLUME, "force", check=False)
        super().stop()

    @property
    def _socket(self) -> str:
        return str(self.root / "g.sock")

    def _gluster(self, *arguments: str, check: bool = True) -> int:
        return run("gluster", "--mode=script", f"--glusterd-sock={self._socket}", *arguments, check=check).returncode
