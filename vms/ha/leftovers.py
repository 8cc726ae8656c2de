"""Definitions that a host still has of VMs that run, or are placed, elsewhere: of a host that was down while its VMs moved on."""

from collections.abc import Iterable, Sequence

from django.db import transaction

from events.log import record as log_event
from events.models import Severity
from hosts.connect import link_of
from hosts.models import Host
from hypervisor import domains
from hypervisor.domain_state import DomainState
from hypervisor.domains import DomainRecord
from hypervisor.errors import InvalidState, NotFound
from jobs.context import Context
from jobs.engine import holder_of, register, submit
from jobs.errors import ObjectBusy, StepFailed
from jobs.kinds import StepDef
from vms.models import VM, VmOrigin, VmStatus
from vms.steps import OFF, find_vm

RUNS = (VmStatus.UP, VmStatus.POWERING_UP, VmStatus.PAUSED, VmStatus.REBOOT_IN_PROGRESS)


def tidy(host: Host, records: Sequence[DomainRecord]) -> None:
    """Asks for the removal of what this list shows to be left over. The jobs look again."""
    for vm in _elsewhere(host, [record for record in records if _is_dead(record.state, record.reason)]):
        if holder_of(vm) is not None:
            continue
        try:
            with transaction.atomic():
                title = f"Tidy {vm.name} away from {host.name}"
                submit("vm.tidy", user=None, target=vm, title=title, params={"host": str(host.pk)})
        except ObjectBusy:
            continue  # the next sweep sees it again


def _elsewhere(host: Host, records: Iterable[DomainRecord]) -> list[VM]:
    ids = [record.uuid for record in records]
    if not ids:
        return []
    return list(
        VM.objects.filter(pk__in=ids, host__isnull=False, origin=VmOrigin.VIREO).exclude(host=host).exclude(status=VmStatus.UNKNOWN)
    )


def _is_dead(state: DomainState, reason: str) -> bool:
    """Off, or stopped by its disks: where another host took them over, it can never write again."""
    return state in OFF or (state == DomainState.PAUSED and reason in ("ioerror", "no space"))


def _tidy(ctx: Context) -> None:
    vm = find_vm(ctx)
    host = Host.objects.filter(pk=ctx.params.get("host")).first()
    if vm is None or host is None or vm.host_id == host.pk:
        ctx.log("There is nothing to tidy.")
        return
    link, uuid = link_of(host), str(vm.pk)
    try:
        state, reason = domains.state(link, uuid)
        if state not in OFF:
            if not _is_dead(state, reason) or vm.status not in RUNS:
                raise StepFailed(f"{vm.name} is {state} on {host.name}.")
            domains.destroy(link, uuid)
            text = f"What was left of {vm.name} on {host.name}, stopped by its disks, was ended: it runs on {vm.host}"
            log_event("vm.leftover_ended", text, obj=vm, severity=Severity.WARNING, job=ctx.job)
        domains.undefine(link, uuid)
    except (NotFound, InvalidState) as error:
        ctx.log(f"{host.name}: {error}")  # it went meanwhile


register("vm.tidy", [StepDef("tidy", "Undefine it", _tidy)], cancellable=False)
