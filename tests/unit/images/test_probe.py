"""What a file is, and which images are refused before anything opens them."""

import struct
import subprocess
import time

import pytest

from storage.images import qemu
from storage.images.probe import BadImage, probe

MIB = 1 << 20


def image(tmp_path, format, size="8M", *options, name="disk"):
    path = tmp_path / f"{name}.{format}"
    subprocess.run(["qemu-img", "create", "-q", "-f", format, *options, str(path), size], check=True)
    return path


def patched(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return path


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vdi", "vhdx", "raw"])
def test_every_format_is_known_with_its_size_and_qemu_agrees(tmp_path, format):
    path = image(tmp_path, format)
    found = probe(path)
    assert (found.format, found.virtual_bytes) == (format, 8 * MIB)
    qemu.confirm(path, format, found.virtual_bytes)


def test_stream_optimized_vmdk_is_known(tmp_path):
    path = image(tmp_path, "vmdk", "8M", "-o", "subformat=streamOptimized")
    assert probe(path).format == "vmdk"


def test_iso_and_ova_are_known(tmp_path):
    iso = tmp_path / "x.iso"
    iso.write_bytes(bytes(32769) + b"CD001" + bytes(4096))
    assert probe(iso).format == "iso"
    ova = tmp_path / "x.ova"
    ova.write_bytes(bytes(257) + b"ustar" + bytes(1000))
    assert probe(ova).format == "ova"


def test_qcow2_with_a_backing_file_is_refused(tmp_path):
    path = image(tmp_path, "qcow2", "8M", "-u", "-b", "/etc/passwd", "-F", "raw")
    with pytest.raises(BadImage, match="backing file"):
        probe(path)


def test_qcow2_with_an_external_data_file_is_refused(tmp_path):
    path = image(tmp_path, "qcow2", "8M", "-o", f"data_file={tmp_path}/data,data_file_raw=on")
    with pytest.raises(BadImage, match="data file"):
        probe(path)
    patched(path, 72, bytes(8))  # the feature bit taken away: the name alone is enough
    with pytest.raises(BadImage, match="data file"):
        probe(path)


@pytest.mark.parametrize("method", [1, 2], ids=["aes", "luks"])
def test_encrypted_qcow2_is_refused(tmp_path, method):
    """qemu-img times the key of a LUKS file, and gives up on a busy machine: what a head says is told apart by a number."""
    path = image(tmp_path, "qcow2", "8M", "--object", "secret,id=s,data=abc", "-o", "encrypt.format=aes,encrypt.key-secret=s")
    patched(path, 32, struct.pack(">I", method))
    with pytest.raises(BadImage, match="encrypted"):
        probe(path)


@pytest.mark.parametrize(("offset", "data", "why"), [(24, struct.pack(">Q", 1 << 60), "64 TiB"), (4, struct.pack(">I", 1), "version 1"), (72, struct.pack(">Q", 1 << 40), "not known"), (72, struct.pack(">Q", 2), "corrupt"), (20, struct.pack(">I", 60), "no sense"), (36, struct.pack(">I", 1 << 31), "no sense")])
def test_qcow2_with_an_absurd_header_is_refused(tmp_path, offset, data, why):
    with pytest.raises(BadImage, match=why):
        probe(patched(image(tmp_path, "qcow2"), offset, data))


def test_vmdk_that_names_other_files_is_refused(tmp_path):
    text = tmp_path / "text.vmdk"
    text.write_text('# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 16384 FLAT "/etc/passwd" 0\n')
    with pytest.raises(BadImage, match="names other files"):
        probe(text)
    flat = image(tmp_path, "vmdk", "8M", "-o", "subformat=twoGbMaxExtentFlat", name="flat")
    with pytest.raises(BadImage, match="names other files"):
        probe(flat)
    without_capacity = patched(image(tmp_path, "vmdk", name="bare"), 12, bytes(8))
    with pytest.raises(BadImage, match="names other files"):
        probe(without_capacity)
    whole = image(tmp_path, "vmdk", name="whole")
    content = whole.read_bytes()
    for old, new, why in ((b"parentCID=ffffffff", b"parentCID=12345678", "snapshot"), (b"SPARSE", b"FLAT  ", "extents"), (b"monolithicSparse", b"twoGbMaxExtentSp", "one file")):
        assert old in content
        whole.write_bytes(content.replace(old, new))
        with pytest.raises(BadImage, match=why):
            probe(whole)


def test_vdi_and_vhdx_with_a_parent_are_refused(tmp_path):
    with pytest.raises(BadImage, match="snapshot"):
        probe(patched(image(tmp_path, "vdi"), 0x1B8, b"\x01" * 16))
    with pytest.raises(BadImage, match="snapshot"):
        probe(patched(image(tmp_path, "vdi"), 0x4C, struct.pack("<I", 4)))
    path = image(tmp_path, "vhdx")
    content = path.read_bytes()
    at = content.find(b"metadata")
    entry = content.find(bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b"), at)
    offset = at + struct.unpack("<I", content[entry + 16 : entry + 20])[0]
    with pytest.raises(BadImage, match="snapshot"):
        probe(patched(path, offset + 4, struct.pack("<I", 2)))


@pytest.mark.parametrize(("content", "why"), [(b"", "empty"), (b"json:{}", "text"), (b"LUKS\xba\xbe" + bytes(600), "encrypted"), (b"\x1f\x8b" + bytes(600), "gzip"), (b"x" * 700, "whole sectors"), (b"QFI\xfb\0\0\0\x03", "ends before"), (b"vhdxfile" + bytes(600), "ends before|no sense"), (b"conectix" + bytes(504), "VHDX")])
def test_what_is_no_image_is_refused_with_a_reason(tmp_path, content, why):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(BadImage, match=why):
        probe(path)


def test_sparse_image_of_ten_tebibytes_is_looked_at_and_converted_in_seconds(tmp_path):
    path = image(tmp_path, "qcow2", "10T")
    begin = time.monotonic()
    found = probe(path)
    assert found.virtual_bytes == 10 << 40
    qemu.confirm(path, "qcow2", found.virtual_bytes)
    target = tmp_path / "out"
    qemu.convert(path, "qcow2", target, "qcow2", lambda done, total: None)
    assert probe(target).virtual_bytes == 10 << 40
    assert time.monotonic() - begin < 30
    assert target.stat().st_blocks * 512 < 64 * MIB


def test_conversion_that_is_stopped_leaves_no_file(tmp_path):
    path, target = tmp_path / "in", tmp_path / "out"
    path.write_bytes(bytes(range(256)) * 4096)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qemu.convert(path, "raw", target, "qcow2", stop)
    assert not target.exists()


def test_conversion_gives_the_same_bytes(tmp_path):
    path, middle, target = tmp_path / "in,driver=nbd", tmp_path / "middle", tmp_path / "out"
    path.write_bytes(bytes(range(256)) * 4096)
    qemu.convert(path, "raw", middle, "vmdk", lambda done, total: None, options_of="subformat=streamOptimized")
    qemu.convert(middle, "vmdk", target, "raw", lambda done, total: None)
    assert target.read_bytes() == path.read_bytes()


def test_damaged_image_is_told_without_the_path_of_the_spool(tmp_path):
    path = image(tmp_path, "qcow2")
    patched(path, 40, struct.pack(">Q", 12345))  # the L1 table lies nowhere
    with pytest.raises(BadImage, match="damaged") as refused:
        qemu.confirm(path, "qcow2", 8 * MIB)
    assert str(tmp_path) not in str(refused.value)
