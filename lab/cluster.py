"""The lab: N hosts on a bridge. Several labs live side by side, each with a name and a subnet of its own."""

import fcntl
import hashlib
import ipaddress
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hosts.pki import CertificateAuthority
from lab import namespaces
from lab.namespaces import LabError, run
from lab.node import Node, NodeState, Wiring

FIRST_HOST = 11  # node1 is .11, and the bridge .1
ALIAS_BYTES = 256  # what an interface's alias holds


@dataclass(frozen=True)
class LabHost:
    """A host as `status` shows it; `pid` is libvirtd's, 0 when none runs; a frozen or cut host is alive."""

    name: str
    address: str
    pid: int
    alive: bool
    uri: str
    state: NodeState


class Lab:
    """Args:
    root: where its files lie, `<VAR>/lab/<name>`.
    lasts: whether it outlives this process. One that does not gives its subnet up to the next lab when the process was killed.
    """

    def __init__(self, name: str, subnet: str, root: Path, ca: CertificateAuthority, hosts: int = 2, lasts: bool = True) -> None:
        self.name, self.root, self.ca, self.count, self.lasts = name, root.resolve(), ca, hosts, lasts
        self.network = ipaddress.ip_network(subnet)
        # Six hex digits: two labs of one name in two checkouts are two labs.
        self.tag = hashlib.sha256(f"{name}:{self.root}".encode()).hexdigest()[:6]
        self.bridge = f"vl{self.tag}"

    @property
    def shared(self) -> Path:
        return self.root / "shared"

    @property
    def gateway(self) -> str:
        return str(self.network[1])

    def node(self, name: str) -> Node:
        """Raises LabError for a name that no host has."""
        for node in self.nodes():
            if node.name == name:
                return node
        raise LabError(f"the lab has no host {name}; it has {', '.join(node.name for node in self.nodes())}")

    def nodes(self) -> list[Node]:
        """The hosts that were asked for, and those beyond them that still exist."""
        prefix = f"{self._prefix}node"
        numbers = {int(name.removeprefix(prefix)) for name in namespaces.named(prefix) if name.removeprefix(prefix).isdigit()}
        return [self._node(number) for number in sorted(numbers | set(range(1, self.count + 1)))]

    def _mac(self, number: int) -> str:
        """A locally administered address of our own."""
        return ":".join(["02", "76", *re.findall("..", self.tag), f"{number:02x}"])

    @property
    def _prefix(self) -> str:
        return f"vireo-{self.tag}-"

    def _node(self, number: int) -> Node:
        name = f"node{number}"
        wiring = Wiring(f"{self._prefix}{name}", f"vl{self.tag}n{number}", self.bridge, self.network.prefixlen, self._mac(number))
        return Node(name, str(self.network[FIRST_HOST - 1 + number]), self.root / name, self.shared, wiring, self.ca)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """As root, and one `up` or `down` of this lab at a time."""
        _require_root()
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with (self.root.parent / f".{self.root.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def up(self) -> None:
        """Makes what is missing, after a crash or a reboot too; hosts that are well are left alone."""
        with self._alone():
            nodes = self.nodes()
            if len(nodes) > self.network.num_addresses - FIRST_HOST - 1:
                raise LabError(f"{self.network} has no room for {len(nodes)} hosts")
            self.ca.ensure()
            self.shared.mkdir(parents=True, exist_ok=True)
            self._bridge_up()
            with ThreadPoolExecutor(len(nodes)) as pool:
                list(pool.map(Node.up, nodes))

    def _bridge_up(self) -> None:
        wanted = f"{self.gateway}/{self.network.prefixlen}"
        ours = set()
        for link in json.loads(run("ip", "-json", "-4", "addr", "show").stdout or "[]"):
            for address in link.get("addr_info", []):
                held = ipaddress.ip_interface(f"{address['local']}/{address['prefixlen']}")
                if link.get("ifname") == self.bridge:
                    ours.add(str(held))
                elif held.ip in self.network or held.network.subnet_of(self.network):
                    self._make_room(link["ifname"], str(held))
        if run("ip", "link", "show", self.bridge, check=False).returncode:
            run("ip", "link", "add", self.bridge, "address", self._mac(0), "type", "bridge")
        for stale in ours - {wanted}:
            run("ip", "addr", "del", stale, "dev", self.bridge)
        run("ip", "addr", "replace", wanted, "dev", self.bridge)
        alias = f"vireo lab {0 if self.lasts else os.getpid()} {self.root}"
        run("ip", "link", "set", self.bridge, "alias", alias if len(alias) < ALIAS_BYTES else "", "up")

    def _make_room(self, interface: str, held: str) -> None:
        """Removes another lab that a crash left on our subnet.

        Raises LabError when something living has it: the machine would send our packets there.
        """
        owner = re.fullmatch(r"vireo lab (\d+) (/.*)", Path(f"/sys/class/net/{interface}/ifalias").read_text().strip())
        tag = re.fullmatch(r"vl([0-9a-f]{6})", interface)
        if owner is None or tag is None:
            raise LabError(f"{interface} already has {held}: set VIREO_LAB_SUBNET to a subnet that is free")
        pid, root = int(owner[1]), Path(owner[2])
        if root.exists() and not (pid and not namespaces.command_of(pid)):
            raise LabError(f"the lab of {root} already has {held}: end it, or set VIREO_LAB_SUBNET to a subnet that is free")
        for netns in namespaces.named(f"vireo-{tag[1]}-"):
            namespaces.end(namespaces.pids_in(netns))
            run("ip", "netns", "del", netns)
        for link in Path("/sys/class/net").glob(f"{interface}*"):
            run("ip", "link", "del", link.name, check=False)

    def down(self) -> None:
        """Ends the hosts and their guests; their files stay."""
        with self._alone():
            for node in self.nodes():
                node.down()
            run("ip", "link", "del", self.bridge, check=False)

    def purge(self) -> None:
        """Down, and the files go too."""
        self.down()
        shutil.rmtree(self.root, ignore_errors=True)

    def status(self) -> list[LabHost]:
        """The hosts as they are in this moment; seen as root, nothing of them is visible to others."""
        return [LabHost(node.name, node.address, node.libvirtd_pid(), node.is_alive(), node.uri, node.state()) for node in self.nodes()]

    def _target(self, name: str) -> Node:
        _require_root()
        return self.node(name)

    def kill_host(self, name: str) -> None:
        self._target(name).kill()

    def cut_host(self, name: str) -> None:
        self._target(name).cut()

    def heal_host(self, name: str) -> None:
        """Whatever was done to it: powered on, plugged in, thawed."""
        self._target(name).up()

    def stop_libvirtd(self, name: str) -> None:
        self._target(name).stop_libvirtd()

    def start_libvirtd(self, name: str) -> None:
        self._target(name).start_libvirtd()

    def freeze_libvirtd(self, name: str) -> None:
        self._target(name).freeze_libvirtd()

    thaw_libvirtd = start_libvirtd


def _require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("The lab makes network namespaces: run it as root, or start Vireo with VIREO_LAB=0.")
