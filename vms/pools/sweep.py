"""Keeps each pool as it should be: complete, some of it running, and what was given back made anew.

It runs in every beat. The lock of the pool's row lets one do so at a time; whatever a dead worker left, the next run finds.
"""

import logging

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from jobs.engine import holder_of
from jobs.errors import ObjectBusy
from portal.errors import NotPossible
from vms import services
from vms.guest import first_boot
from vms.models import VM, VmStatus
from vms.pools.models import Pool
from vms.pools.services import free_machines
from vms.services import NewVm

log = logging.getLogger(__name__)

_REFUSALS = (NotPossible, ObjectBusy, PermissionDenied, ValidationError)


def sweep() -> None:
    """One pool's trouble stops no other."""
    for pk in Pool.objects.values_list("pk", flat=True):
        try:
            with transaction.atomic():
                pool = Pool.objects.select_for_update(of=("self",)).select_related("cluster", "template", "keeper").filter(pk=pk).first()
                if pool is not None and pool.keeper is not None:
                    _keep(pool)
        except _REFUSALS as error:
            log.warning("pool %s cannot be kept complete: %s", pk, error)
    for vm in VM.objects.filter(to_reset=True, taken_by=None).select_related("cluster", "owner"):
        _clear(vm)


def _keep(pool: Pool) -> None:
    machines = pool.machines.filter(to_reset=False)
    for _ in range(pool.size - machines.count()):
        _make(pool)
    surplus = machines.count() - pool.size
    for vm in free_machines(pool).order_by("-name")[: max(0, surplus)]:
        VM.objects.filter(pk=vm.pk).update(to_reset=True)
    running = free_machines(pool).exclude(status=VmStatus.DOWN).count()
    for vm in free_machines(pool).filter(status=VmStatus.DOWN).order_by("name"):
        if running >= pool.prestarted:
            return
        if holder_of(vm) is None:
            services.act(pool.keeper, vm, "start")  # type: ignore[arg-type]
        running += 1


def _make(pool: Pool) -> None:
    template = pool.template
    new = NewVm(
        name=_free_name(pool),
        cluster=pool.cluster,
        template=template,
        memory_mib=template.memory_mib,
        vcpus=template.vcpus,
        # Whoever takes it is not known yet, and the keeper's own keys have no business in it.
        first_boot=first_boot.default_for(None, template),
    )
    vm, _job = services.create(pool.keeper, new)  # type: ignore[arg-type]
    VM.objects.filter(pk=vm.pk).update(pool=pool, expires_at=None)


def _free_name(pool: Pool) -> str:
    taken = set(VM.objects.filter(cluster=pool.cluster, name__istartswith=f"{pool.name}-").values_list("name", flat=True))
    return next(name for number in range(1, 10**6) if (name := f"{pool.name}-{number}") not in taken)


def _clear(vm: VM) -> None:
    """Powers it off, and in a later run, when it is down, removes it."""
    if holder_of(vm) is not None or vm.owner is None:
        return
    try:
        if vm.status == VmStatus.DOWN:
            services.remove(vm.owner, vm)
        elif vm.status != VmStatus.IMAGE_LOCKED:
            services.act(vm.owner, vm, "poweroff")
    except _REFUSALS as error:
        log.warning("%s of a pool cannot be cleared away: %s", vm.name, error)
