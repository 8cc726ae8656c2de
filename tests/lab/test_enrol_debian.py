"""The pasted command on a machine that never saw libvirt: a plain Debian with systemd becomes a host that is up."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack
from tests.waiting import until

ADDRESS = "127.0.0.1"
COMMAND = """
from accounts.models import User
from hosts import services
from hosts.models import Cluster
admin = User.objects.get(username="admin")
host, _job = services.add(admin, services.NewHost(name="plain", cluster=Cluster.objects.get(), address="{address}", enrol=True))
print(services.new_enrolment(admin, host, "{url}").text)
"""


class Machine:
    """A Debian in a container of its own: its own init, files and processes; the network is this machine's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        packages = "systemd-sysv,dbus,iproute2,ca-certificates,wget"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), "http://deb.debian.org/debian"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        options = ["--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=copy-host", "--capability=all"]
        with (root.parent / "machine.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", str(root), "--machine=vireo-plain", "--boot", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            until(self._has_booted, 60, "the machine to boot", every=0.2)
        except BaseException:
            self.stop()  # nobody else knows of it yet
            raise

    def _has_booted(self) -> bool:
        assert self.process.poll() is None, (self.root.parent / "machine.log").read_text(errors="replace")
        return bool(self._init()) and self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def _init(self) -> str:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return children[0] if children else ""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command as root inside."""
        inside = ["nsenter", "-t", self._init(), "-m", "-u", "-i", "-p", "--"]
        return subprocess.run([*inside, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.root)


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack()
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def plain_debian(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "root")
    try:
        yield made
    finally:
        made.stop()


def test_one_pasted_command_makes_a_plain_debian_a_host(stack: Stack, plain_debian: Machine) -> None:
    assert plain_debian.run("bash", "-c", "command -v libvirtd").returncode != 0
    command = stack.manage("shell", "-v0", "-c", COMMAND.format(address=ADDRESS, url=stack.url)).splitlines()[-1]
    done = plain_debian.run("bash", "-c", f"cd && {command}")
    assert done.returncode == 0, done.stderr
    assert "The host joins now." in done.stdout

    stack.hosts_up(1)
    host = stack.api("GET", "/hosts").body["items"][0]
    assert (host["name"], host["transport"], host["driver"]) == ("plain", "tls", "QEMU")
    assert plain_debian.run("systemctl", "is-enabled", "libvirtd-tls.socket").stdout.strip() == "enabled"
    key = plain_debian.run("stat", "-c", "%a %U", "/etc/pki/libvirt/private/serverkey.pem").stdout
    assert key.strip() == "600 root"
    assert plain_debian.run("systemctl", "is-active", "virtlockd.socket").stdout.strip() == "active"
    assert 'lock_manager = "lockd"' in plain_debian.run("cat", "/etc/libvirt/qemu.conf").stdout
    again = plain_debian.run("bash", "-c", f"cd && {command}")
    assert again.returncode != 0, "a token works once"
    assert "404" in again.stderr
