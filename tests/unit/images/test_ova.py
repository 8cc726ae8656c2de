"""What an OVA says is taken over; what it must not say is refused, and nothing of it is ever unpacked."""

import io
import os
import tarfile

import pytest

from storage.images import ova, ovf, qemu
from storage.images.probe import BadImage
from tests.unit.images import ova_files

MIB = 1 << 20


@pytest.fixture
def content():
    return os.urandom(MIB) + bytes(7 * MIB)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_machine_of_vmware_is_taken_over(tmp_path, content, algorithm):
    path = ova_files.vmware(tmp_path / "web.ova", content, algorithm)
    found = ova.read(path)
    machine = found.machine
    assert (machine.name, machine.vcpus, machine.memory_mib, machine.firmware, machine.os, machine.nics) == ("web", 2, 128, "efi", "linux", ("VM Network",))
    assert [disk.capacity_bytes for disk in found.disks] == [8 * MIB, 1 << 30] and found.disks[1].member is None
    ova.verify(path, found, lambda done, total: None)
    disk = found.disks[0]
    part = qemu.Part(disk.member.start, disk.member.size)
    qemu.confirm(path, disk.probe.format, 8 * MIB, part)
    qemu.convert(path, disk.probe.format, tmp_path / "out", "raw", lambda done, total: None, part=part)
    assert (tmp_path / "out").read_bytes() == content


def test_machine_of_virtualbox_is_taken_over(tmp_path, content):
    files = {"win.ovf": ova_files.VIRTUALBOX.encode(), "win-disk001.vmdk": ova_files.vmdk(tmp_path, content)}
    found = ova.read(ova_files.write(tmp_path / "win.ova", files, format=tarfile.PAX_FORMAT))
    machine = found.machine
    assert (machine.name, machine.vcpus, machine.memory_mib, machine.firmware, machine.os, machine.nics) == ("Windows 10", 4, 2048, "efi", "windows", ("NAT",))
    assert found.checksums == ()


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "a/../../x", "..\\..\\x", "C:\\x"])
def test_name_that_leads_out_is_refused(tmp_path, content, name):
    path = ova_files.write(tmp_path / "x.ova", {"web.ovf": ova_files.VMWARE.encode(), name: b"x"})
    with pytest.raises(BadImage, match="leads out"):
        ova.read(path)


def special(type, name="link", linkname="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, linkname
    return info


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_devices_are_refused(tmp_path, type):
    path = ova_files.write(tmp_path / "x.ova", {"web.ovf": ova_files.VMWARE.encode()}, special(type), format=tarfile.GNU_FORMAT)
    with pytest.raises(BadImage, match="links or devices"):
        ova.read(path)


def test_header_of_gigabytes_and_members_beyond_the_end_are_refused(tmp_path):
    huge = tarfile.TarInfo("x")
    huge.type, huge.size = tarfile.XHDTYPE, 7 << 30
    path = tmp_path / "x.ova"
    path.write_bytes(huge.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(BadImage, match="too long"):
        ova.read(path)
    beyond = tarfile.TarInfo("web.ovf")
    beyond.size = 8 << 20
    path.write_bytes(beyond.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(BadImage, match="too early"):
        ova.read(path)
    many = {f"f{number}": b"" for number in range(100)}
    with pytest.raises(BadImage, match="too many"):
        ova.read(ova_files.write(path, many))


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>',
        '<!DOCTYPE x [<!ENTITY d SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
    ],
)
def test_entities_are_refused(doctype):
    text = ova_files.VMWARE.replace("<Envelope", f"{doctype}<Envelope", 1)
    for hostile in (text, text.replace("<Name>web</Name>", "<Name>&d;</Name>")):
        with pytest.raises(BadImage, match="entities|no XML"):
            ovf.parse(hostile.encode())
        with pytest.raises(BadImage, match="entities|no XML"):
            ovf.parse(hostile.replace("UTF-8", "UTF-16").encode("utf-16"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('ovf:fileRef="file1"', 'ovf:fileRef="file9"', "no file"),
        ('ovf:diskId="vmdisk1"', 'ovf:diskId="vmdisk1" ovf:parentRef="vmdisk2"', "builds on another"),
        ('ovf:id="file1"', 'ovf:id="file1" ovf:compression="gzip"', "compressed"),
        ("ovf:/disk/vmdisk1", "file:///etc/passwd", "nowhere"),
        ("</VirtualSystem>", '</VirtualSystem><VirtualSystem ovf:id="b"/>', "2 machines"),
        ("Envelope", "Other", "no OVF"),
    ],
)
def test_description_that_does_not_hold_together_is_refused(old, new, why):
    with pytest.raises(BadImage, match=why):
        ovf.parse(ova_files.VMWARE.replace(old, new).encode())


def test_disk_that_names_a_file_of_the_portal_is_refused(tmp_path):
    text = b'# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 16384 FLAT "/etc/passwd" 0\n'
    path = ova_files.write(tmp_path / "x.ova", {"web.ovf": ova_files.VMWARE.encode(), "web-disk1.vmdk": text})
    with pytest.raises(BadImage, match="names other files"):
        ova.read(path)
    elsewhere = ova_files.VMWARE.replace("web-disk1.vmdk", "../../../etc/passwd")
    with pytest.raises(BadImage, match="not in the archive"):
        ova.read(ova_files.write(path, {"web.ovf": elsewhere.encode(), "web-disk1.vmdk": b"x"}))


def test_wrong_checksum_is_found_and_a_file_without_one_refused(tmp_path, content):
    damaged = ova_files.vmware(tmp_path / "web.ova", content, disk=ova_files.vmdk(tmp_path, content[:-1] + b"x"))
    with pytest.raises(BadImage, match="web-disk1.vmdk is not what the manifest says"):
        ova.verify(damaged, ova.read(damaged), lambda done, total: None)
    files = {"web.ovf": ova_files.VMWARE.encode(), "web-disk1.vmdk": ova_files.vmdk(tmp_path, content)}
    files["web.mf"] = ova_files.manifest({"web.ovf": files["web.ovf"]})
    with pytest.raises(BadImage, match="leaves files out"):
        ova.read(ova_files.write(tmp_path / "x.ova", files))


def test_no_file_is_no_archive(tmp_path):
    path = tmp_path / "x.ova"
    path.write_bytes(io.BytesIO(b"x" * 2048).getvalue())
    with pytest.raises(BadImage):
        ova.read(path)
