"""XML of pools, volumes and networks."""

import subprocess
from pathlib import Path

import pytest

from hypervisor import network_xml, volume_xml
from hypervisor.spec import NetworkSpec, PoolSpec, VolumeSpec

UUID = "6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c11"
POOLS = [PoolSpec("local", "/var/lib/vireo/local"), PoolSpec("a <b>", "/srv/x y", UUID)]
VOLUMES = [
    VolumeSpec("a.qcow2", 1 << 30),
    VolumeSpec("b.raw", 5, "raw"),
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
    xml = volume_xml.pool_to_xml(spec)
    assert volume_xml.pool_from_xml(xml) == spec
    _validate(tmp_path, xml, "storagepool")


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
