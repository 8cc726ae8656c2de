"""Domain XML: golden files, libvirt's own schema, and back."""

import dataclasses
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypervisor.domain_xml import amend_xml, drift, from_xml, to_xml
from hypervisor.spec import DiskSpec, DomainSpec, GraphicsSpec, Metadata, NetworkSource, NicSpec
from hypervisor.xmltools import BadXml, parse

GOLDEN = Path(__file__).parent / "golden"
UUID = "6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c11"
DISK = DiskSpec("/var/lib/vireo/local/disk1.qcow2", "vda", serial="disk1")
CD = DiskSpec("/var/lib/vireo/shared/seed.iso", "sda", bus="scsi", device="cdrom", format="raw", readonly=True)
NIC = NicSpec("52:54:00:00:00:01", "vireo-default", alias="0b6f4f0e-9bb1-4d4e-8a3f-1f4a3a0a9d55")

RBD = NetworkSource("rbd", "vms/disk1.raw", ("192.0.2.1:6789", "[2001:db8::1]:6789"), "libvirt", UUID)
LUN = NetworkSource("iscsi", "iqn.2026-01.org.example:t1/1", ("192.0.2.1:3260",), initiator="iqn.2026-01.org.example:vireo")

SPECS = {
    "minimal": DomainSpec(uuid=UUID, name="minimal", memory_mib=128, graphics=None, serial=False, agent=False, rng=False, balloon=False,
                          video="", tablet=False),
    "usual": DomainSpec(uuid=UUID, name="web-1", title="Web", description="Front end <1> & more", memory_mib=512, vcpus=2, disks=(DISK, CD),
                        nics=(NIC,), metadata=Metadata("4d9e", "alice", ("prod", "web"))),
    "direct-kernel": DomainSpec(uuid=UUID, name="tiny", memory_mib=128, kernel="/boot/vmlinuz", initrd="/boot/initrd.img",
                                cmdline="console=ttyS0 quiet", disks=(DISK,), nics=(NIC,), graphics=GraphicsSpec("secret12", "10.0.0.1")),
    "secure": DomainSpec(uuid=UUID, name="secure", memory_mib=1024, firmware="efi-secure", disks=(DISK,), watchdog="reset"),
    "efi-grown": DomainSpec(uuid=UUID, name="grown", memory_mib=512, memory_max_mib=2048, vcpus=2, vcpus_max=8, sockets=2, cores=2, threads=2,
                            firmware="efi", virt_type="kvm", cpu_mode="host-passthrough", cpu_model="", boot_order=("network", "hd"),
                            disks=(dataclasses.replace(DISK, source="/dev/vg/lv", format="raw", io_iops=500, io_bytes=1 << 20, shareable=True),),
                            nics=(dataclasses.replace(NIC, link_up=False), NicSpec("52:54:00:00:00:02", "", model="e1000e", bridge="br0"))),
    "network-disks": DomainSpec(uuid=UUID, name="far", memory_mib=512, disks=(DiskSpec(str(RBD), "vda", format="raw", remote=RBD),
                                                                             DiskSpec(str(LUN), "vdb", format="raw", remote=LUN))),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_the_xml_is_the_golden_file(name: str) -> None:
    assert to_xml(SPECS[name]) == (GOLDEN / f"{name}.xml").read_text()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.xml")), ids=lambda path: path.stem)
def test_libvirts_schema_accepts_the_golden_file(path: Path) -> None:
    result = subprocess.run(["virt-xml-validate", str(path), "domain"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", SPECS)
def test_reading_it_back_gives_the_spec(name: str) -> None:
    assert from_xml(to_xml(SPECS[name])) == SPECS[name]


words = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)
names = words.filter(bool)
paths = names.map(lambda name: "/srv/" + name)
targets = st.lists(st.sampled_from(["vda", "vdb", "sda", "sdb", "sdc"]), unique=True, max_size=4)


@st.composite
def disks(draw: st.DrawFn) -> tuple[DiskSpec, ...]:
    found = []
    for target in draw(targets):
        if draw(st.booleans()):
            found.append(
                DiskSpec(draw(st.just("") | paths), target, bus="scsi", device="cdrom", format="raw", readonly=True, serial=draw(words))
            )
        else:
            found.append(
                DiskSpec(
                    draw(paths),
                    target,
                    bus=draw(st.sampled_from(["virtio", "scsi", "sata"])),
                    format=draw(st.sampled_from(["qcow2", "raw"])),
                    serial=draw(words),
                    cache=draw(st.sampled_from(["none", "writeback", ""])),
                    discard=draw(st.sampled_from(["unmap", "ignore", ""])),
                    readonly=draw(st.booleans()),
                    shareable=draw(st.booleans()),
                    io_iops=draw(st.integers(0, 10**6)),
                    io_bytes=draw(st.integers(0, 10**12)),
                )
            )
    return tuple(found)


@st.composite
def nics(draw: st.DrawFn) -> tuple[NicSpec, ...]:
    macs = draw(st.lists(st.integers(0, 2**24 - 1), unique=True, max_size=3))
    return tuple(
        NicSpec(
            f"52:54:00:{mac >> 16:02x}:{mac >> 8 & 255:02x}:{mac & 255:02x}",
            draw(names),
            model=draw(st.sampled_from(["virtio", "e1000e"])),
            link_up=draw(st.booleans()),
            alias=draw(st.sampled_from(["", "nic-1", UUID])),
        )
        for mac in macs
    )


@st.composite
def specs(draw: st.DrawFn) -> DomainSpec:
    memory, vcpus = draw(st.integers(1, 2**20)), draw(st.integers(1, 64))
    mode = draw(st.sampled_from(["custom", "host-model", "host-passthrough", ""]))
    return DomainSpec(
        uuid=str(draw(st.uuids())),
        name=draw(names),
        title=draw(words),
        description=draw(words),
        memory_mib=memory,
        memory_max_mib=draw(st.none() | st.integers(memory + 1, 2**21)),
        vcpus=vcpus,
        vcpus_max=draw(st.none() | st.integers(vcpus + 1, 128)),
        cpu_mode=mode,
        cpu_model=draw(st.sampled_from(["qemu64", "Nehalem"])) if mode == "custom" else "",
        virt_type=draw(st.sampled_from(["qemu", "kvm"])),
        machine=draw(st.sampled_from(["q35", "pc", "pc-q35-7.2"])),
        firmware=draw(st.sampled_from(["bios", "efi", "efi-secure"])),
        boot_order=tuple(draw(st.lists(st.sampled_from(["hd", "cdrom", "network"]), unique=True))),
        kernel=draw(st.just("") | paths),
        cmdline=draw(words),
        disks=draw(disks()),
        nics=draw(nics()),
        graphics=draw(st.none() | st.builds(GraphicsSpec, st.sampled_from(["", "12345678"]), st.sampled_from(["", "10.0.0.1", "::1"]))),
        serial=draw(st.booleans()),
        agent=draw(st.booleans()),
        rng=draw(st.booleans()),
        balloon=draw(st.booleans()),
        video=draw(st.sampled_from(["virtio", "vga", ""])),
        tablet=draw(st.booleans()),
        watchdog=draw(st.sampled_from(["", "reset", "poweroff"])),
        metadata=draw(st.builds(Metadata, words, words, st.lists(names, max_size=3).map(tuple))),
    )


@settings(max_examples=150, deadline=None)
@given(specs())
def test_any_spec_survives_the_round_trip(spec: DomainSpec) -> None:
    xml = to_xml(spec)
    assert from_xml(xml) == spec
    assert to_xml(from_xml(xml)) == xml
    assert drift(spec, from_xml(xml)) == ()


@settings(max_examples=100, deadline=None)
@given(specs(), specs())
def test_a_domain_amended_to_a_spec_reads_as_that_spec_where_vireo_manages_it(old: DomainSpec, new: DomainSpec) -> None:
    amended = from_xml(amend_xml(to_xml(old), new))
    managed = ("title", "description", "memory_mib", "memory_max_mib", "vcpus", "vcpus_max", "boot_order", "kernel", "cmdline", "metadata")
    for field in managed:
        assert getattr(amended, field) == getattr(new, field), field
    assert {nic.mac: nic for nic in amended.nics} == {nic.mac: nic for nic in new.nics}
    assert {disk.target: disk.source for disk in amended.disks} == {disk.target: disk.source for disk in new.disks}
    assert (amended.uuid, amended.name, amended.firmware) == (old.uuid, old.name, old.firmware)


ADOPTED = """<domain type='kvm' id='4' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>old</name><uuid>6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c11</uuid>
<metadata><other:thing xmlns:other='urn:other'>kept</other:thing></metadata><memory unit='GiB'>1</memory><currentMemory unit='KiB'>524288</currentMemory>
<vcpu current='1'>2</vcpu><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><boot dev='hd'/></os><cpu mode='host-model'/>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/image'><host name='ceph'/></source><target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><mac address='52:54:00:AA:BB:CC'/><source bridge='br0'/><model type='virtio'/><address type='pci' slot='0x03'/></interface>
<tpm model='tpm-crb'><backend type='emulator'/></tpm></devices>
<qemu:commandline><qemu:arg value='-foo'/></qemu:commandline></domain>"""


def test_an_adopted_domain_is_read_with_what_vireo_does_not_make() -> None:
    spec = from_xml(ADOPTED)
    assert (spec.memory_mib, spec.memory_max_mib, spec.vcpus, spec.vcpus_max) == (512, 1024, 1, 2)
    assert spec.disks[0].source == "rbd:pool/image"
    assert (spec.nics[0].mac, spec.nics[0].bridge, spec.nics[0].network) == ("52:54:00:aa:bb:cc", "br0", "")


def test_amending_an_adopted_domain_keeps_what_vireo_does_not_know() -> None:
    spec = from_xml(ADOPTED)
    wanted = dataclasses.replace(spec, memory_mib=768, memory_max_mib=None, title="Ours", disks=(*spec.disks, dataclasses.replace(DISK, target="vdb")),
                                 metadata=Metadata("id-1"))  # fmt: skip
    xml = amend_xml(ADOPTED, wanted)
    for kept in ("other:thing", "rbd", 'host name="ceph"', "tpm-crb", 'value="-foo"', 'slot="0x03"', "52:54:00:AA:BB:CC"):
        assert kept in xml
    assert from_xml(xml) == wanted


def test_amending_with_its_own_spec_changes_nothing() -> None:
    for spec in SPECS.values():
        assert amend_xml(to_xml(spec), spec) == to_xml(spec)


def test_drift_names_what_was_changed_beside_us() -> None:
    wanted = SPECS["usual"]
    found = dataclasses.replace(
        wanted, memory_mib=256, machine="pc-q35-7.2", disks=(dataclasses.replace(DISK, source="/elsewhere"),), nics=(*wanted.nics, NicSpec("52:54:00:00:00:09", "x"))
    )  # fmt: skip
    assert {(each.field, each.wanted, each.found) for each in drift(wanted, found)} == {
        ("memory_mib", "512", "256"),
        ("disks[vda].source", DISK.source, "/elsewhere"),
        ("disks[sda]", CD.source, ""),
        ("nics[52:54:00:00:00:09]", "", "x"),
    }


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"memory_mib": 0}, "memory"),
        ({"memory_max_mib": 1}, "memory"),
        ({"vcpus": 0}, "CPUs"),
        ({"sockets": 3, "cores": 1, "threads": 1}, "sockets"),
        ({"disks": (DISK, DISK)}, "same target"),
        ({"graphics": GraphicsSpec("123456789")}, "8 characters"),
        ({"title": "a\x00b"}, "XML"),
    ],
)
def test_an_impossible_spec_is_refused_with_the_reason(change: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        to_xml(dataclasses.replace(SPECS["usual"], **change))


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<domain",
        "<network/>",
        "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><name>&x;</name></domain>",
        "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><domain><name>&b;</name></domain>",
    ],
)
def test_hostile_xml_is_refused(xml: str) -> None:
    with pytest.raises(BadXml):
        parse(xml, "domain")


def test_a_password_is_never_in_a_repr() -> None:
    assert "secret12" not in repr(SPECS["direct-kernel"])


def test_an_adopted_vms_network_disk_is_left_as_it_is_and_ours_is_pointed_elsewhere() -> None:
    far = SPECS["network-disks"]
    adopted = dataclasses.replace(far, disks=tuple(dataclasses.replace(disk, remote=None) for disk in far.disks))
    assert drift(adopted, far) == ()
    assert from_xml(amend_xml(to_xml(far), adopted)) == far
    moved = dataclasses.replace(far, disks=(dataclasses.replace(DISK, format="raw", serial=""), far.disks[1]))
    assert from_xml(amend_xml(to_xml(far), moved)) == moved
    assert from_xml(amend_xml(to_xml(moved), far)) == far
