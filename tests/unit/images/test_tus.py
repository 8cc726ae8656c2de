"""Uploads by the tus protocol, through the whole ASGI application."""

import base64
import hashlib
import os
import subprocess
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from events.models import Event
from jobs.models import Job
from storage.images import spool, uploads
from storage.images.models import Upload, UploadStatus
from storage.models import Disk
from tests.build import make_storage
from tests.unit.images.client import Caller
from tests.unit.images.conftest import caller_of

pytestmark = pytest.mark.django_db(transaction=True)
MIB = 1 << 20
CONTENT = os.urandom(MIB) * 3


def in_pieces(content, size=64 * 1024):
    return [content[at : at + size] for at in range(0, len(content), size)]


def database(function, *arguments):
    return sync_to_async(function)(*arguments)


async def test_what_is_uploaded_in_two_parts_becomes_a_disk_and_a_job(call, domain):
    begun = await call.begin(CONTENT, domain=str(domain.pk), filename="C:\\images\\disk.img", name="my disk")
    assert begun.status == 201 and begun.headers["tus-resumable"] == "1.0.0"
    location = begun.headers["location"]
    first = await call.append(location, 0, in_pieces(CONTENT[:MIB]))
    assert (first.status, first.headers["upload-offset"], first.body) == (204, str(MIB), b"")
    looked = await call("HEAD", location)
    assert (looked.status, looked.headers["upload-offset"], looked.headers["upload-length"], looked.headers["cache-control"]) == (200, str(MIB), str(3 * MIB), "no-store")
    last = await call.append(location, MIB, in_pieces(CONTENT[MIB:]))
    disk = await Disk.objects.select_related("image__by").aget()
    assert (last.status, last.headers["vireo-next"]) == (204, f"/disks/{disk.pk}/")
    assert (disk.name, disk.format, disk.capacity_bytes, disk.status) == ("my disk", "qcow2", 3 * MIB, "locked")
    assert (disk.image.file_name, disk.image.file_format, disk.image.by.username) == ("disk.img", "raw", "alice")
    assert spool.path_of(disk.pk).read_bytes() == CONTENT
    assert (await Job.objects.aget()).kind == "image.import"
    assert [path.name for path in spool.path_of(disk.pk).parent.iterdir()] == [f"{disk.pk}.part"]


async def test_what_came_before_the_connection_broke_is_kept_and_another_client_goes_on(call, alice, domain):
    location = (await call.begin(CONTENT, domain=domain.name)).headers["location"]
    await call.append(location, 0, in_pieces(CONTENT[: MIB + 5]), breaks=True)
    other = await database(caller_of, alice)
    offset = int((await other("HEAD", location)).headers["upload-offset"])
    assert offset == MIB + 5
    assert (await other.append(location, offset, in_pieces(CONTENT[offset:]))).status == 204
    assert spool.path_of((await Disk.objects.aget()).pk).read_bytes() == CONTENT


async def test_two_writers_at_once_and_a_wrong_place_are_refused(call, domain):
    location = (await call.begin(CONTENT, domain=domain.name)).headers["location"]
    upload = await Upload.objects.aget()
    assert (await call.append(location, 7, [b"x"])).status == 409
    token = await database(uploads.claim, upload, 0)
    assert (await call.append(location, 0, [b"x"])).status == 423
    await Upload.objects.aupdate(writer_at=timezone.now() - timedelta(minutes=1))  # the other one has died
    assert (await call.append(location, 0, [b"x"])).status == 204
    assert not await database(uploads.advance, upload.pk, token, 100)
    assert (await Upload.objects.aget()).offset == 1


async def test_checksum_of_a_part_is_compared(call, domain):
    location = (await call.begin(CONTENT, domain=domain.name)).headers["location"]
    good = base64.b64encode(hashlib.sha256(CONTENT[:MIB]).digest()).decode()
    assert (await call.append(location, 0, [b"x" * MIB], Upload_Checksum=f"sha256 {good}")).status == 460
    assert (await call("HEAD", location)).headers["upload-offset"] == "0"
    assert (await call.append(location, 0, in_pieces(CONTENT[:MIB], 1000), Upload_Checksum=f"sha256 {good}")).status == 204
    assert (await call.append(location, MIB, [b"x"], Upload_Checksum="md5 eA==")).status == 422


async def test_more_than_the_length_is_refused_and_nothing_becomes_of_it(call, domain):
    location = (await call.begin(1000, domain=domain.name)).headers["location"]
    assert (await call.append(location, 0, [b"x" * 1001])).status == 413
    assert not await Disk.objects.aexists()


async def test_full_disk_is_said_and_what_was_written_is_kept(call, domain):
    """A real full file system: the process may make files of 64 KiB, as by `ulimit -f`; the kernel refuses the rest."""
    import resource
    import signal

    location = (await call.begin(CONTENT, domain=domain.name)).headers["location"]
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    (size,) = {path.stat().st_size for path in spool.path_of((await Upload.objects.aget()).pk).parent.iterdir()}
    assert size == 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MIB, before[1]))  # the database and its log are smaller
    try:
        await Upload.objects.aupdate(length=20 * MIB)
        answer = await call.append(location, 0, in_pieces(CONTENT * 4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (answer.status, b"no space" in answer.body) == (507, True)
    kept = int((await call("HEAD", location)).headers["upload-offset"])
    assert kept == 8 * MIB
    assert (await call.append(location, kept, in_pieces((CONTENT * 7)[kept : 20 * MIB]))).status == 204
    assert await Disk.objects.aexists()


async def test_nobody_sees_or_writes_the_upload_of_another(call, mallory, domain):
    location = (await call.begin(CONTENT, domain=domain.name)).headers["location"]
    other = await database(caller_of, mallory)
    assert (await other("HEAD", location)).status == 404
    assert (await other.append(location, 0, [b"x"])).status == 404
    assert (await other("DELETE", location)).status == 404
    assert (await Caller().append(location, 0, [b"x"])).status == 403  # by the CSRF check, which comes first
    assert (await Caller().begin(CONTENT, domain=domain.name)).status == 403


async def test_storage_domain_of_others_is_not_found(call):
    other = await database(make_storage)
    assert (await call.begin(CONTENT, domain=str(other.pk))).status == 422
    assert not await Upload.objects.aexists()


async def test_image_that_names_a_file_of_the_host_is_refused_and_goes(call, domain, tmp_path):
    path = tmp_path / "evil.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", str(path), "8M"], check=True)
    location = (await call.begin(path.stat().st_size, domain=domain.name, filename="ok.iso")).headers["location"]
    answer = await call.append(location, 0, [path.read_bytes()])
    assert (answer.status, b"backing file" in answer.body) == (422, True)
    assert not await Disk.objects.aexists() and not await Upload.objects.aexists() and not list(spool.path_of(domain.pk).parent.iterdir())
    assert await Event.objects.filter(kind="upload.ended", message__contains="backing file").aexists()


async def test_upload_that_is_given_up_leaves_nothing(call, domain):
    location = (await call.begin(CONTENT, domain=domain.name)).headers["location"]
    await call.append(location, 0, [b"x" * 100])
    assert (await call("DELETE", location)).status == 204
    assert (await call("HEAD", location)).status == 404
    assert not list(spool.path_of(domain.pk).parent.iterdir())


async def test_abandoned_upload_ends_and_a_complete_one_that_was_left_is_taken(call, domain):
    location = (await call.begin(CONTENT, domain=domain.name)).headers["location"]
    await call.append(location, 0, [b"x" * 100])
    await Upload.objects.aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    await database(uploads.sweep)
    assert not await Upload.objects.aexists() and not list(spool.path_of(domain.pk).parent.iterdir())
    location = (await call.begin(1024, domain=domain.name)).headers["location"]
    upload = await Upload.objects.aget()
    spool.path_of(upload.pk).write_bytes(bytes(1024))
    await Upload.objects.aupdate(offset=1024)  # its server died before it went on
    looked = await call("HEAD", location)
    assert "vireo-next" in looked.headers and (await Upload.objects.aget()).status == UploadStatus.TAKEN


async def test_unfinished_uploads_of_a_user_and_their_space_are_limited(call, domain, settings):
    for _ in range(uploads.MOST_OPEN):
        assert (await call.begin(1000, domain=domain.name)).status == 201
    assert (await call.begin(1000, domain=domain.name)).status == 409
    await Upload.objects.all().adelete()
    settings.SPOOL_BYTES = MIB
    assert (await call.begin(MIB - 1000, domain=domain.name)).status == 201
    assert (await call.begin(2000, domain=domain.name)).status == 409


@pytest.mark.parametrize("headers", [{"Upload-Length": "-1"}, {"Upload-Length": "1e9"}, {"Upload-Length": "9" * 30}, {}, {"Upload-Length": "10", "Upload-Metadata": "filename !!"}])
async def test_what_is_no_tus_is_refused(call, headers):
    assert (await call("POST", "/api/v1/uploads", headers)).status == 422
    assert (await call("POST", "/api/v1/uploads", {"Tus-Resumable": "0.2.2"})).status == 412
    options = await call("OPTIONS", "/api/v1/uploads")
    assert options.status == 204 and "checksum" in options.headers["tus-extension"]
