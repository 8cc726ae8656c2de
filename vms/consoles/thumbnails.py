"""Thumbnails of screens. A request takes what is in Redis and asks for a fresh one; a worker takes the screenshot.

Only VMs that somebody looks at are photographed, each at most once in REFRESH_SECONDS, each host at most five times a second.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from celery import shared_task
from django.core.cache import cache
from kombu.exceptions import OperationalError

from hypervisor import domains
from hypervisor.errors import HypervisorError
from vms import can
from vms.consoles import reach
from vms.models import VM

log = logging.getLogger(__name__)

REFRESH_SECONDS = 5
KEPT_SECONDS = 60
PER_HOST_AND_SECOND = 5


@dataclass(frozen=True)
class Thumbnail:
    """A screen as it was `taken_at` (epoch seconds)."""

    png: bytes
    taken_at: float


def _key(vm_id: Any) -> str:
    return f"thumbnail:{vm_id}"


def latest(vm_id: Any) -> Thumbnail | None:
    """The last one, unless it is older than a minute."""
    found = cache.get(_key(vm_id))
    return Thumbnail(*found) if found else None


def want(vm_id: Any) -> None:
    """Somebody looks at this VM: has a worker refresh its thumbnail, unless that was asked for just now."""
    if not cache.add(f"thumbnail-asked:{vm_id}", 1, REFRESH_SECONDS):
        return
    try:
        refresh.apply_async(args=[str(vm_id)], expires=REFRESH_SECONDS * 2, retry=False)
    except (OperationalError, OSError) as error:
        log.warning("a thumbnail could not be asked for: %s", error)


def forget(vm_id: Any) -> None:
    """The VM does not run any more: its last screen is nobody's."""
    cache.delete(_key(vm_id))


@shared_task(name="vms.thumbnail", ignore_result=True)
def refresh(vm_id: str) -> None:
    """Takes the screenshot and keeps it for a minute."""
    vm = VM.objects.select_related("host").filter(pk=vm_id).first()
    if vm is None or vm.host is None or not can.check("console", vm):
        forget(vm_id)
        return
    slot = int(time.time() * PER_HOST_AND_SECOND)
    if not cache.add(f"thumbnail-host:{vm.host_id}:{slot}", 1, 2):
        cache.delete(f"thumbnail-asked:{vm_id}")  # the next look asks again
        return
    from vms.consoles.picture import BadPicture, thumbnail  # only workers need the imaging library

    try:
        _mime, data = domains.screenshot(reach.link(vm), vm_id)
        cache.set(_key(vm_id), (thumbnail(data), time.time()), KEPT_SECONDS)
    except (HypervisorError, BadPicture, reach.Unreachable) as error:
        log.info("no thumbnail of %s: %s", vm.name, error)
