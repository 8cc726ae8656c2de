"""VMs that stand still because their storage was full or failed go on when it can be used again."""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from hosts.models import Host
from hypervisor.storage import PoolInfo
from jobs.engine import submit
from jobs.errors import ObjectBusy
from jobs.models import Job
from storage.on_host import Look
from vms.models import VM, VmStatus
from vms.states import PAUSE_REASONS

# So much must be free again, of the whole or in bytes: less would be written full at once.
SHARE, ENOUGH_BYTES = 0.01, 1 << 30
PAUSE_AFTER_ERROR = timedelta(seconds=30)


def go_on(host: Host, looks: Iterable[Look]) -> list[Job]:
    """Called with what the host's storage looks like now: resumes each VM there that waits for space in it.

    Highly available VMs are also resumed after I/O errors, each time after a pause: storage that answers may fail again.
    """
    paused = VM.objects.filter(host=host, status=VmStatus.PAUSED)
    long_ago = timezone.now() - PAUSE_AFTER_ERROR
    failed = Q(status_reason=PAUSE_REASONS["ioerror"], highly_available=True, status_since__lte=long_ago)
    stopped = paused.filter(Q(status_reason=PAUSE_REASONS["no space"]) | failed)
    waiting = {vm: set(vm.attachments.values_list("disk__domain_id", flat=True)) for vm in stopped}
    if not waiting:
        return []
    roomy = {domain.pk: _has_room(info) for domain, info in looks}
    ready = [vm for vm, domains in waiting.items() if (seen := domains & roomy.keys()) and all(roomy[key] for key in seen)]
    return [job for vm in ready if (job := _resume(vm)) is not None]


def _has_room(info: PoolInfo | str) -> bool:
    return not isinstance(info, str) and info.available >= min(ENOUGH_BYTES, SHARE * info.capacity)


def _what_came(vm: VM) -> str:
    return "has space again" if vm.status_reason == PAUSE_REASONS["no space"] else "answers again"


def _resume(vm: VM) -> Job | None:
    try:
        return submit("vm.resume", user=None, target=vm, title=f"Resume {vm.name}: its storage {_what_came(vm)}")
    except ObjectBusy:
        return None  # whoever works on it now decides
