"""Images on real hosts: in by upload and URL, out whole, in parts and converted."""

import hashlib
import os
import subprocess
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync

from hosts.connect import link_of
from hypervisor import storage as pools
from jobs.models import JobStatus, Lock
from storage.images import downloads, fetch, incoming, spool
from storage.images.models import ImageSource
from storage.images.probe import probe
from storage.models import Disk, DiskStatus
from tests.http_server import says, serving
from tests.lab.test_every_step import breaking, changed, names_of, twice

MIB = 1 << 20


@pytest.fixture(autouse=True)
def empty_spool(settings, tmp_path):
    settings.UPLOAD_DIR = tmp_path / "uploads"


def bring(registered, path, name="image", domain=None, **fields):
    """The import of a file that lies in the spool."""
    found = probe(path)
    new = incoming.Incoming(user=registered.admin, domain=domain or registered.shared, name=name, file_name=path.name, source=ImageSource.UPLOAD,
                            file_format=found.format, file_bytes=path.stat().st_size, virtual_bytes=found.virtual_bytes, **fields)  # fmt: skip
    disk, job = incoming.add(new, spooled=path)
    job = registered.run(job)
    return Disk.objects.filter(pk=disk.pk).first(), job


def raw_file(tmp_path, data=None, size=64 * MIB):
    path = spool.path_of(uuid4())
    with path.open("wb") as file:
        file.write(data or os.urandom(MIB))
        file.truncate(size)
    return path


def volume(registered, disk):
    return registered.lab.shared / disk.volume_name


@pytest.mark.parametrize("format", ["raw", "vmdk", "qcow2"])
def test_image_becomes_a_disk_with_the_same_content_and_stays_sparse(registered, tmp_path, format):
    data = os.urandom(MIB)
    raw = raw_file(tmp_path, data)
    path = raw
    if format != "raw":
        path = spool.path_of(uuid4())
        subprocess.run(["qemu-img", "convert", "-O", format, str(raw), str(path)], check=True)
        raw.unlink()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    disk, job = bring(registered, path, expected_sha256=digest)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert (disk.status, disk.capacity_bytes, disk.format, disk.image.sha256) == (DiskStatus.OK, 64 * MIB, "qcow2", digest)
    assert disk.allocated_bytes < 4 * MIB
    whole = tmp_path / "whole"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(volume(registered, disk)), str(whole)], check=True)
    assert whole.read_bytes() == data + bytes(63 * MIB)
    assert not list(spool.path_of(disk.pk).parent.iterdir())
    info = pools.volume_info(link_of(registered.hosts[0]), registered.shared.pool_name, disk.volume_name)
    assert info.format == "qcow2" and info.capacity == 64 * MIB


def test_ten_tebibytes_that_hold_nothing_are_imported_as_qcow2_and_as_raw(registered, tmp_path):
    for to_format in ("qcow2", "raw"):
        path = spool.path_of(uuid4())
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "10T"], check=True)
        disk, job = bring(registered, path, to_format=to_format)
        assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
        assert (disk.capacity_bytes, disk.format) == (10 << 40, to_format) and disk.allocated_bytes < MIB


def test_wrong_checksum_leaves_nothing(registered, tmp_path):
    disk, job = bring(registered, raw_file(tmp_path), expected_sha256="0" * 64)
    assert job.status == JobStatus.FAILED and "checksum" in job.error
    assert disk is None and not Lock.objects.exists() and not list(spool.path_of(job.pk).parent.iterdir())
    assert not list(registered.lab.shared.glob(f"{job.object_id}*"))


def part_of(registered, disk, header):
    link, total = downloads.size_of(disk)
    part = downloads.part_of(total, header)

    async def read():
        return b"".join([piece async for piece in downloads.from_storage(link, disk, part)])

    return async_to_sync(read)()


def test_disk_is_downloaded_whole_in_parts_and_exported(registered, tmp_path):
    data = os.urandom(5 * MIB)
    disk, job = bring(registered, raw_file(tmp_path, data, size=5 * MIB), to_format="raw")
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert part_of(registered, disk, "") == data
    assert part_of(registered, disk, f"bytes={MIB + 1}-{3 * MIB}") == data[MIB + 1 : 3 * MIB + 1]
    assert part_of(registered, disk, "bytes=-7") == data[-7:]
    job = registered.run(downloads.export(registered.admin, disk, "vmdk"))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    whole = tmp_path / "whole"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", str(downloads.export_path(disk, "vmdk")), str(whole)], check=True)
    assert whole.read_bytes() == data


@pytest.fixture
def server(settings):
    settings.OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    with serving() as found:
        yield found


def test_image_is_fetched_through_a_redirect_and_its_address_is_forgotten(registered, server):
    data = os.urandom(MIB)
    server.answer = lambda handler: (says(302, Location="/disk.raw?key=secret") if handler.path == "/begin" else says(200, data))(handler)
    disk, job = fetch.add(registered.admin, registered.shared, server.url("/begin"), name="fetched", sha256=hashlib.sha256(data).hexdigest())
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    disk.refresh_from_db()
    assert (disk.capacity_bytes, disk.image.file_format, disk.image.url, disk.status) == (MIB, "raw", "", DiskStatus.OK)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says(302, Location="http://169.254.169.254/latest"), "must not reach"),
        (says(302, Location="file:///etc/passwd"), "http"),
        (says(302, Location="/begin"), "more than 5 times"),
        (says(404), "status 404"),
        (says(200, b"QFI\xfb not whole"), "ends before"),
    ],
)
def test_address_that_leads_astray_leaves_nothing(registered, server, answer, why):
    server.answer = answer
    disk, job = fetch.add(registered.admin, registered.shared, server.url("/begin"))
    job = registered.run(job)
    assert job.status == JobStatus.FAILED and why in job.error, job.error
    assert not Disk.objects.filter(pk=disk.pk).exists() and not list(spool.path_of(job.pk).parent.iterdir())


@pytest.mark.parametrize("kind", ["image.fetch", "disk.export"])
def test_whichever_step_fails_nothing_is_left_and_done_twice_it_is_made_once(registered, server, kind):
    """As after a worker that was killed before, in, or right after each step."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "disk.vmdk", "8M"], check=True, cwd=spool.path_of(uuid4()).parent)
    image = spool.path_of(uuid4()).parent / "disk.vmdk"
    server.answer = says(200, image.read_bytes())
    image.unlink()
    disk = None

    def submit():
        if kind == "disk.export":
            return downloads.export(registered.admin, disk, "vmdk")
        return fetch.add(registered.admin, registered.shared, server.url("/disk.vmdk"))[1]

    if kind == "disk.export":
        disk, job = fetch.add(registered.admin, registered.shared, server.url("/disk.vmdk"))
        registered.run(job)
        disk.refresh_from_db()
    before = set(Disk.objects.all())
    for step in names_of(kind):
        for done in (False, True):
            with changed(kind, lambda steps, step=step, done=done: breaking(step, done)(twice(steps))):
                job = registered.run(submit())
            assert (job.status, job.error) == (JobStatus.FAILED, f"{step} broke")
            assert set(Disk.objects.all()) == before and not Lock.objects.exists()
            assert [path.name for path in spool.path_of(job.pk).parent.iterdir() if ".export" not in path.name] == []
            assert {path.name for path in registered.lab.shared.glob("*.qcow2")} >= {disk.volume_name for disk in before if disk.domain == registered.shared}
    with changed(kind, twice):
        job = registered.run(submit())
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert Disk.objects.get(pk=job.object_id).status == DiskStatus.OK
