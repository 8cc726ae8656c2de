"""ISO images on their way from a browser to a storage domain: checked, then kept in the spool until the job has moved them."""

import json
import os
import subprocess
import uuid
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from portal.errors import FieldError

LARGEST_ISO = 16 << 30
SECTOR = 2048
_MAGIC_AT, _MAGIC = 16 * SECTOR + 1, b"CD001"


def spool(disk_id: uuid.UUID) -> Path:
    """Where the image of this disk waits for its job. File names are ours, never the user's."""
    directory = settings.VAR / "uploads"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / f"{disk_id}.iso"


def keep_iso(file: UploadedFile, disk_id: uuid.UUID) -> Path:
    """Checks an uploaded image and puts it into the spool, without reading it into memory.

    Raises:
        FieldError: field "file", with what is wrong with it.
    """
    size = file.size or 0
    if size > LARGEST_ISO:
        raise FieldError("file", f"An ISO image may have at most {LARGEST_ISO >> 30} GiB.")
    check_magic(file)
    path = spool(disk_id)
    try:
        _store(file, path)
        check_format(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def check_magic(file: UploadedFile) -> None:
    """Raises FieldError unless the file has the volume descriptor that every ISO 9660 image has at its 17th sector."""
    file.seek(_MAGIC_AT)
    found = file.read(len(_MAGIC))
    file.seek(0)
    if found != _MAGIC:
        raise FieldError("file", "This is not an ISO image: it has no ISO 9660 volume descriptor.")


def check_format(path: Path) -> None:
    """Raises FieldError when QEMU would see anything but plain bytes: an image that is a qcow2, too, could name files of the host."""
    command = ["qemu-img", "info", "--output=json", "--", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    try:
        info = json.loads(done.stdout) if done.returncode == 0 else {}
    except ValueError:
        info = {}
    if info.get("format") != "raw" or "backing-filename" in info:
        raise FieldError("file", "This file is more than an ISO image: QEMU reads it as another disk format.")


def _store(file: UploadedFile, path: Path) -> None:
    temporary = getattr(file, "temporary_file_path", None)
    if temporary is not None and Path(temporary()).stat().st_dev == path.parent.stat().st_dev:
        os.link(temporary(), path)  # Django removes its own name of the file
    else:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            for chunk in file.chunks():
                target.write(chunk)
    path.chmod(0o600)
