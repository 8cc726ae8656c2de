"""The lab itself: real hosts come up, suffer what the tests ask for, and come back; nobody else's are touched."""

import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
from django.core.management import CommandError, call_command

from hosts.pki import CertificateAuthority
from lab import kvm, namespaces
from lab.cluster import Lab
from lab.guest import GuestImage
from lab.namespaces import LabError, run
from lab.node import LOCAL_POINT, TLS_PORT, Node, NodeState
from tests.waiting import until

DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><cpu mode='custom'><model>qemu64</model></cpu>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
<transient/></disk><graphics type='vnc' autoport='yes'/><video><model type='vga'/></video><serial type='file'><source path='{serial}'/></serial>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>"""
KEY_A, KEY_ENTER = 30, 28


@pytest.fixture
def node1(healthy_lab: Lab) -> Node:
    return healthy_lab.node("node1")


@pytest.fixture
def second(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """A lab of one host beside the session's; not up yet."""
    subnet = ipaddress.ip_network((int(lab.network.network_address) + 256, 24))
    made = Lab("second", str(subnet), tmp_path / "second", lab.ca, hosts=1, lasts=False)
    yield made
    made.purge()


@pytest.fixture
def guest_on_node1(lab: Lab, guest: GuestImage) -> Iterator[libvirt.virDomain]:
    """The tiny guest, just started. Healing may end the connection, so the end opens its own."""
    local = lab.node("node1").root / "local"
    for left in (*local.glob("*TRANSIENT*"), *local.glob("serial.log")):
        left.unlink()
    shutil.copy(guest.disk, local / "tiny.qcow2")
    connection = libvirt.open(lab.node("node1").uri)
    yield connection.createXML(DOMAIN.format(name="tiny", disk=f"{LOCAL_POINT}/tiny.qcow2", serial=f"{LOCAL_POINT}/serial.log"))
    lab.heal_host("node1")
    for domain in libvirt.open(lab.node("node1").uri).listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        domain.destroy()


def _virsh(uri: str, *command: str, seconds: float = 5) -> subprocess.CompletedProcess[str]:
    return run("timeout", str(seconds), "virsh", "-q", "-c", uri, *command, check=False)


def _pids(lab: Lab) -> dict[str, list[int]]:
    return {node.name: namespaces.pids_in(node.wiring.netns) for node in lab.nodes()}


def test_up_again_leaves_healthy_hosts_alone(lab: Lab) -> None:
    before = _pids(lab)
    lab.up()
    assert _pids(lab) == before
    assert all(before.values())
    assert [(host.name, host.state, host.alive) for host in lab.status()] == [("node1", "up", True), ("node2", "up", True)]


def test_hosts_differ_and_share_one_directory_only(lab: Lab) -> None:
    opened = [libvirt.open(node.uri) for node in lab.nodes()]
    assert [connection.getHostname() for connection in opened] == ["node1", "node2"]
    uuids = {connection.getCapabilities().split("<uuid>")[1][:36] for connection in opened}
    assert uuids == {str(node.hardware_uuid) for node in lab.nodes()}
    assert len(uuids) == 2
    for node in lab.nodes():
        holder = namespaces.find(node.wiring.netns, "sleep")[0]
        for place, text in (("shared", "all"), ("local", node.name)):
            Path(f"/proc/{holder}/root/var/lib/vireo/{place}/written-here").write_text(text)
    assert (lab.shared / "written-here").read_text() == "all"
    assert [(node.root / "local/written-here").read_text() for node in lab.nodes()] == ["node1", "node2"]


def test_killed_host_takes_its_guests_along_and_comes_back_with_its_definitions(
    healthy_lab: Lab, node1: Node, guest_on_node1: libvirt.virDomain
) -> None:
    connection = guest_on_node1.connect()
    connection.defineXML(DOMAIN.format(name="kept", disk="/none.qcow2", serial="/dev/null"))
    other = _pids(healthy_lab)["node2"]
    assert namespaces.find(node1.wiring.netns, "qemu-system-x86")
    healthy_lab.kill_host("node1")
    assert namespaces.pids_in(node1.wiring.netns) == []
    assert [host.state for host in healthy_lab.status()] == [NodeState.DOWN, NodeState.UP]
    assert _pids(healthy_lab)["node2"] == other
    healthy_lab.heal_host("node1")
    names = [(domain.name(), domain.isActive()) for domain in libvirt.open(node1.uri).listAllDomains()]
    libvirt.open(node1.uri).lookupByName("kept").undefine()
    assert names == [("kept", 0)]


def test_cut_host_runs_on_unreachable_and_is_plugged_in_again(healthy_lab: Lab, node1: Node) -> None:
    pid = node1.libvirtd_pid()
    healthy_lab.cut_host("node1")
    assert node1.state() is NodeState.CUT
    assert _virsh(node1.uri, "hostname", seconds=1).returncode
    assert _virsh(healthy_lab.node("node2").uri, "hostname").stdout.strip() == "node2"
    healthy_lab.heal_host("node1")
    assert _virsh(node1.uri, "hostname").stdout.strip() == "node1"
    assert node1.libvirtd_pid() == pid


def test_frozen_libvirtd_accepts_and_never_answers(healthy_lab: Lab, node1: Node) -> None:
    healthy_lab.freeze_libvirtd("node1")
    assert node1.state() is NodeState.FROZEN
    with socket.create_connection((node1.address, TLS_PORT), timeout=2):
        pass
    assert _virsh(node1.uri, "hostname", seconds=1).returncode == 124
    healthy_lab.thaw_libvirtd("node1")
    assert _virsh(node1.uri, "hostname").stdout.strip() == "node1"


def test_guest_outlives_libvirtd_and_is_found_again(healthy_lab: Lab, node1: Node, guest_on_node1: libvirt.virDomain) -> None:
    number, pid = guest_on_node1.ID(), node1.libvirtd_pid()
    healthy_lab.stop_libvirtd("node1")
    assert node1.state() is NodeState.DOWN
    assert namespaces.find(node1.wiring.netns, "qemu-system-x86")
    healthy_lab.start_libvirtd("node1")
    assert node1.libvirtd_pid() != pid
    assert libvirt.open(node1.uri).lookupByName("tiny").ID() == number


def test_guest_shows_itself_answers_its_agent_takes_keys_and_powers_off(node1: Node, guest_on_node1: libvirt.virDomain) -> None:
    serial = node1.root / "local" / "serial.log"

    def screen() -> bytes:
        assert _virsh(node1.uri, "screenshot", "tiny", str(picture := node1.root / "screen")).returncode == 0
        return picture.read_bytes()

    until(lambda: b"Ready. A shell is on this console." in serial.read_bytes(), 30, "the guest's greeting on its serial line")
    assert b"Vireo tiny Linux" in serial.read_bytes()
    until(lambda: "tiny" in _virsh(node1.uri, "domhostname", "tiny", "--source", "agent").stdout, 30, "its agent")
    before = screen()
    for key in (KEY_A, KEY_A, KEY_ENTER):
        guest_on_node1.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, 30, [key], 1)
    until(lambda: screen() != before, 10, "the keys on its screen")
    guest_on_node1.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    connection = guest_on_node1.connect()
    until(lambda: not connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE), 15, "it to power off")


def test_certificates_of_another_ca_are_refused_on_either_side(healthy_lab: Lab, node1: Node, tmp_path: Path) -> None:
    foreign = CertificateAuthority(tmp_path / "foreign")
    stranger = foreign.client_dir()
    (stranger / "cacert.pem").write_bytes(healthy_lab.ca.ca_pem)
    assert _virsh(f"qemu+tls://{node1.address}/system?pkipath={stranger}", "hostname").returncode
    assert _virsh(f"qemu+tls://{node1.address}/system?pkipath={tmp_path}", "hostname").returncode, "no certificate at all"
    node1.write_certificates(foreign)
    healthy_lab.stop_libvirtd("node1")
    node1.run_inside("libvirtd", "-d", "--listen")
    refused = until(
        lambda: (answer := _virsh(node1.uri, "hostname")).returncode and "certificate" in answer.stderr and answer, 10, "our refusal"
    )
    assert refused.stdout == ""
    healthy_lab.heal_host("node1")
    assert _virsh(node1.uri, "hostname").stdout.strip() == "node1"


def test_two_labs_live_side_by_side(lab: Lab, second: Lab) -> None:
    second.up()
    assert second.node("node1").hardware_uuid != lab.node("node1").hardware_uuid
    before = _pids(lab)
    second.kill_host("node1")
    second.down()
    assert _pids(lab) == before
    assert all(host.state is NodeState.UP for host in lab.status())
    assert not namespaces.named(f"vireo-{second.tag}-")
    assert not list(Path("/sys/class/net").glob(f"{second.bridge}*"))


def test_up_mends_what_a_crash_left(second: Lab) -> None:
    second.up()
    run("ip", "link", "del", second.bridge)
    second.up()
    run("ip", "link", "del", second.node("node1").wiring.outside)
    second.up()
    second.kill_host("node1")
    run("ip", "netns", "del", second.node("node1").wiring.netns)
    (namespaces.NETNS_DIR / second.node("node1").wiring.netns).touch()  # the name stays, the namespace is gone
    assert [host.state for host in second.status()] == [NodeState.DOWN]
    second.up()
    assert [host.state for host in second.status()] == [NodeState.UP]


def test_up_after_its_ca_was_replaced_gives_hosts_new_certificates(second: Lab, tmp_path: Path) -> None:
    second.up()
    later = Lab(second.name, str(second.network), second.root, CertificateAuthority(tmp_path / "pki"), hosts=1, lasts=False)
    later.up()
    assert _virsh(later.node("node1").uri, "hostname").stdout.strip() == "node1"
    assert _virsh(second.node("node1").uri, "hostname").returncode


def test_a_taken_subnet_is_refused_and_that_of_a_killed_process_taken_over(second: Lab, tmp_path: Path) -> None:
    maker = (
        "import sys; from pathlib import Path; from hosts.pki import CertificateAuthority; from lab.cluster import Lab\n"
        "Lab('other', sys.argv[1], Path(sys.argv[2]), CertificateAuthority(Path(sys.argv[3])), hosts=1, lasts=False).up()\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", maker, str(second.network), str(tmp_path / "other"), str(second.ca.directory)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "up"
            with pytest.raises(LabError, match=f"{tmp_path}/other already has .*VIREO_LAB_SUBNET"):
                second.up()
        finally:
            process.send_signal(signal.SIGKILL)
    second.up()
    assert [host.state for host in second.status()] == [NodeState.UP]
    left = Lab("other", str(second.network), tmp_path / "other", second.ca, hosts=1)
    assert [host.state for host in left.status()] == [NodeState.DOWN]


def test_names_nobody_has_and_users_who_may_not_get_a_sentence(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match="no host node9; it has node1, node2"):
        lab.kill_host("node9")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for act in (lab.up, lab.down, lambda: lab.kill_host("node1")):
        with pytest.raises(LabError, match="run it as root"):
            act()
    with pytest.raises(CommandError, match="run it as root"):
        call_command("lab", "up")


def test_status_command_tells_by_its_exit_code(settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings.VAR = tmp_path
    with pytest.raises(SystemExit) as ended:
        call_command("lab", "status")
    assert ended.value.code == 1
    assert [line.split()[0:3:2] for line in capsys.readouterr().out.splitlines()] == [["node1", "down"], ["node2", "down"]]


def test_probe_believes_a_booted_guest_and_nothing_else(guest: GuestImage, tmp_path: Path) -> None:
    assert kvm.boots(guest, "tcg", 30)
    empty = GuestImage(tmp_path / "disk.qcow2", guest.kernel, guest.initrd)
    run("qemu-img", "create", "-f", "qcow2", str(empty.disk), "1M")
    assert not kvm.boots(empty, "tcg", 1)
    assert not kvm.boots(guest, "none-such", 30)


def test_probe_asks_the_machine_once(guest: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    image = GuestImage(tmp_path / "disk.qcow2", guest.kernel, guest.initrd)
    monkeypatch.setattr(kvm, "boots", lambda _image, accelerator, _seconds: bool(asked.append(accelerator)) or True)
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    assert not kvm.probe_kvm(image), "no device"
    kvm.DEVICE.touch()
    assert kvm.probe_kvm(image)
    assert kvm.probe_kvm(image)
    assert asked == ["kvm"]
    image.disk.with_name("kvm.json").write_text("{")
    assert kvm.probe_kvm(image)
    assert asked == ["kvm", "kvm"]
