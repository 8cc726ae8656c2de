"""XML of pools, volumes and networks."""

import subprocess
from pathlib import Path

import pytest

from hypervisor import network_xml, pool_xml, secrets, volume_xml
from hypervisor.spec import NetworkSpec, PoolSpec, VolumeSpec

UUID = "6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c11"
POOLS = [
    PoolSpec("local", "/var/lib/vireo/local"),
    PoolSpec("a <b>", "/srv/x y", UUID),
    PoolSpec("nfs", "/var/lib/vireo/mnt/x", UUID, "netfs", ("nas.example.org",), "/exports/vms", "nfs"),
    PoolSpec("gluster", "/var/lib/vireo/mnt/y", kind="netfs", hosts=("192.0.2.1",), source="/gv", format="glusterfs"),
    PoolSpec("iscsi", "", kind="iscsi-direct", hosts=("192.0.2.1:3260",), source="iqn.2026-01.x:t1", initiator="iqn.2026-01.x:i"),
    PoolSpec("chap", "", UUID, "iscsi-direct", ("[2001:db8::1]:3260",), "iqn.2026-01.x:t1", initiator="iqn.2026-01.x:i", user="u", secret=UUID),
    PoolSpec("rbd", "", kind="rbd", hosts=("192.0.2.1:6789", "mon2:3300"), source="vms"),
    PoolSpec("cephx", "", UUID, "rbd", ("192.0.2.1:6789",), "vms", user="libvirt", secret=UUID),
    PoolSpec("lvm", "/dev/vg0", kind="logical", source="vg0"),
    PoolSpec("zfs", "", kind="zfs", source="tank/vms"),
    PoolSpec("fc", "/dev/disk/by-path", kind="scsi", wwnn="20000000c9831b4b", wwpn="10000000c9831b4b"),
]
VOLUMES = [
    VolumeSpec("a.qcow2", 1 << 30),
    VolumeSpec("b.raw", 5, "raw"),
    VolumeSpec("thick.raw", 1 << 30, "raw"),
    VolumeSpec("c.qcow2", 1 << 30, "qcow2", "/srv/base.qcow2", "qcow2"),
]
NETWORKS = [
    NetworkSpec("isolated", UUID, "vbr0"),
    NetworkSpec(
        "nat", bridge="vbr1", forward="nat", address="192.168.100.1/24", dhcp_start="192.168.100.10", dhcp_end="192.168.100.99", mtu=1400
    ),
    NetworkSpec("six", address="fd00::1/64", dhcp_start="fd00::10", dhcp_end="fd00::ff"),
]


def _validate(tmp_path: Path, xml: str, schema: str) -> None:
    path = tmp_path / "x.xml"
    path.write_text(xml)
    result = subprocess.run(["virt-xml-validate", str(path), schema], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("spec", POOLS, ids=lambda spec: spec.name)
def test_a_pool_survives_the_round_trip_and_is_valid(spec: PoolSpec, tmp_path: Path) -> None:
    xml = pool_xml.pool_to_xml(spec)
    assert pool_xml.pool_from_xml(xml) == spec
    _validate(tmp_path, xml, "storagepool")


def test_a_pool_of_a_kind_that_we_do_not_make_is_refused() -> None:
    with pytest.raises(ValueError):
        pool_xml.pool_to_xml(PoolSpec("x", "/dev/sda", kind="disk"))


def test_the_same_storage_is_known_again_whoever_signs_in() -> None:
    one = PoolSpec("a", "", kind="rbd", hosts=("192.0.2.1:6789",), source="vms", user="u", secret=UUID)
    assert pool_xml.same_place(one, PoolSpec("b", "", kind="rbd", hosts=("192.0.2.1",), source="vms"))
    assert not pool_xml.same_place(one, PoolSpec("b", "", kind="rbd", hosts=("192.0.2.1",), source="others"))


@pytest.mark.parametrize("usage", ["ceph", "iscsi"])
def test_a_secret_is_valid_and_private(usage: str, tmp_path: Path) -> None:
    xml = secrets.secret_to_xml(UUID, usage, "vireo-pool")
    assert 'private="yes"' in xml
    _validate(tmp_path, xml, "secret")


def test_a_thick_volume_takes_all_its_space_at_once(tmp_path: Path) -> None:
    xml = volume_xml.volume_to_xml(VolumeSpec("x", 4096, "raw", thick=True))
    assert '<allocation unit="bytes">4096</allocation>' in xml
    _validate(tmp_path, xml, "storagevol")


@pytest.mark.parametrize("spec", VOLUMES, ids=lambda spec: spec.name)
def test_a_volume_survives_the_round_trip_and_is_valid(spec: VolumeSpec, tmp_path: Path) -> None:
    xml = volume_xml.volume_to_xml(spec)
    assert volume_xml.volume_from_xml(xml) == spec
    _validate(tmp_path, xml, "storagevol")


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: spec.name)
def test_a_network_survives_the_round_trip_and_is_valid(spec: NetworkSpec, tmp_path: Path) -> None:
    xml = network_xml.to_xml(spec)
    assert network_xml.from_xml(xml) == spec
    _validate(tmp_path, xml, "network")


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec("x", bridge="a-name-of-16-chr"),
        NetworkSpec("x", forward="route-to-mars"),
        NetworkSpec("x", dhcp_start="10.0.0.1", dhcp_end="10.0.0.2"),
        NetworkSpec("x", address="10.0.0.1/24", dhcp_start="10.0.1.1", dhcp_end="10.0.1.2"),
        NetworkSpec("x", address="10.0.0.1/24", dhcp_start="10.0.0.9", dhcp_end="10.0.0.2"),
        NetworkSpec("x", address="nonsense"),
    ],
)
def test_an_impossible_network_is_refused(spec: NetworkSpec) -> None:
    with pytest.raises(ValueError):
        network_xml.to_xml(spec)
