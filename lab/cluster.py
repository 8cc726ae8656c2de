"""The lab: N hosts on a bridge. Several labs live side by side, each with a name and a subnet of its own."""

import hashlib
import ipaddress
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hosts.pki import CertificateAuthority
from lab import namespaces
from lab.namespaces import LabError, run
from lab.node import Node, Wiring

FIRST_HOST = 11  # node1 is .11, and the bridge .1


@dataclass(frozen=True)
class LabHost:
    """A host as `status` shows it."""

    name: str
    address: str
    pid: int
    alive: bool
    uri: str


class Lab:
    """Args: root: where its files lie, `<VAR>/lab/<name>`."""

    def __init__(self, name: str, subnet: str, root: Path, ca: CertificateAuthority, hosts: int = 2) -> None:
        self.name, self.root, self.ca, self.count = name, root.resolve(), ca, hosts
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
        found = []
        for number in range(1, 100):
            node = self._node(number)
            if number <= self.count or namespaces.exists(node.wiring.netns):
                found.append(node)
            else:
                break
        return found

    def _node(self, number: int) -> Node:
        name = f"node{number}"
        wiring = Wiring(f"vireo-{self.tag}-{name}", f"vl{self.tag}n{number}", self.bridge, self.network.prefixlen)
        return Node(name, str(self.network[FIRST_HOST - 1 + number]), self.root / name, self.shared, wiring, self.ca)

    @contextmanager
    def _as_root(self) -> Iterator[None]:
        if os.geteuid() != 0:
            raise LabError("The lab makes network namespaces: run it as root, or start Vireo with VIREO_LAB=0.")
        yield

    def up(self) -> None:
        """Makes what is missing, after a crash or a reboot too; hosts that are well are left alone."""
        with self._as_root():
            self.ca.ensure()
            self.shared.mkdir(parents=True, exist_ok=True)
            if run("ip", "link", "show", self.bridge, check=False).returncode:
                run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "addr", "replace", f"{self.gateway}/{self.network.prefixlen}", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
            nodes = self.nodes()
            with ThreadPoolExecutor(len(nodes)) as pool:
                list(pool.map(Node.up, nodes))

    def down(self) -> None:
        """Ends the hosts and their guests; their files stay."""
        with self._as_root():
            for node in self.nodes():
                node.down()
            run("ip", "link", "del", self.bridge, check=False)

    def purge(self) -> None:
        """Down, and the files go too."""
        self.down()
        shutil.rmtree(self.root, ignore_errors=True)

    def status(self) -> list[LabHost]:
        return [LabHost(node.name, node.address, node.libvirtd_pid(), node.is_alive(), node.uri) for node in self.nodes()]

    def kill_host(self, name: str) -> None:
        self.node(name).kill()

    def cut_host(self, name: str) -> None:
        self.node(name).cut()

    def heal_host(self, name: str) -> None:
        """Whatever was done to it: powered on, plugged in, thawed."""
        self.node(name).up()

    def stop_libvirtd(self, name: str) -> None:
        self.node(name).stop_libvirtd()

    def start_libvirtd(self, name: str) -> None:
        self.node(name).start_libvirtd()

    def freeze_libvirtd(self, name: str) -> None:
        self.node(name).freeze_libvirtd()

    thaw_libvirtd = start_libvirtd
