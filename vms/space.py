"""VMs that stand still because their storage was full go on when space came."""

from collections.abc import Iterable

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


def go_on(host: Host, looks: Iterable[Look]) -> list[Job]:
    """Called with what the host's storage looks like now: resumes each VM there that waits for space in it."""
    stopped = VM.objects.filter(host=host, status=VmStatus.PAUSED, status_reason=PAUSE_REASONS["no space"])
    waiting = {vm: set(vm.attachments.values_list("disk__domain_id", flat=True)) for vm in stopped}
    if not waiting:
        return []
    roomy = {domain.pk: _has_room(info) for domain, info in looks}
    ready = [vm for vm, domains in waiting.items() if (seen := domains & roomy.keys()) and all(roomy[key] for key in seen)]
    return [job for vm in ready if (job := _resume(vm)) is not None]


def _has_room(info: PoolInfo | str) -> bool:
    return not isinstance(info, str) and info.available >= min(ENOUGH_BYTES, SHARE * info.capacity)


def _resume(vm: VM) -> Job | None:
    try:
        return submit("vm.resume", user=None, target=vm, title=f"Resume {vm.name}: its storage has space again")
    except ObjectBusy:
        return None  # whoever works on it now decides
