"""The directory where images wait: uploads that arrive, images that are fetched or converted, exports to be fetched.

File names are ids of ours, with a suffix that says what the file is; nothing that a user typed is ever part of one.
"""

import os
import shutil
import time
import uuid
from pathlib import Path

from django.conf import settings

PART, WORK, EXPORT = "part", "work", "export"
RESERVE_BYTES = 1 << 30  # stays free for the database and logs that may share the file system
# A file that no row names and nobody wrote for so long is left over from a process that died.
LEFT_OVER_SECONDS = 24 * 3600


def path_of(key: uuid.UUID, suffix: str = PART) -> Path:
    """The file of an upload, or of a disk whose image comes or goes."""
    directory = settings.UPLOAD_DIR
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / f"{key}.{suffix}"


def drop(key: uuid.UUID, *suffixes: str) -> None:
    for suffix in suffixes or (PART, WORK, EXPORT):
        path_of(key, suffix).unlink(missing_ok=True)


def free_bytes() -> int:
    """What new files may take: what the file system has, less the reserve, and no more than VIREO_SPOOL_GIB in all."""
    settings.UPLOAD_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.UPLOAD_DIR).free - RESERVE_BYTES
    if settings.SPOOL_BYTES:
        free = min(free, settings.SPOOL_BYTES - used_bytes())
    return max(0, free)


def used_bytes() -> int:
    total = 0
    for entry in os.scandir(settings.UPLOAD_DIR):
        try:
            total += entry.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def left_over(known: set[str]) -> list[Path]:
    """Old files whose key is none of the known ones."""
    before = time.time() - LEFT_OVER_SECONDS
    found = []
    for path in settings.UPLOAD_DIR.iterdir():
        try:
            if path.is_file() and path.name.split(".")[0] not in known and path.stat().st_mtime < before:
                found.append(path)
        except FileNotFoundError:
            continue
    return found
