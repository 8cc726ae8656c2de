"""The verbs on pools. Taking and giving back happen under the lock of the pool's row, so of many who want the last one gets it."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Grant, Role, User
from accounts.permissions import allowed, grant, require
from events.log import record
from jobs.engine import holder_of
from jobs.errors import ObjectBusy
from portal.errors import FieldError, NotPossible
from portal.live import publish, publish_to
from portal.names import valid_name, valid_text
from vms import services as vms
from vms.models import VM, VmStatus
from vms.pools.models import LARGEST, Pool

ROLE = "UserRole"


def save(actor: User, pool: Pool) -> Pool:
    """Makes or changes a pool; its machines come and go with the next sweep. Raises FieldError."""
    created = pool._state.adding
    require(actor, "pool.create" if created else "pool.edit", pool.cluster if created else pool)
    pool.name, pool.description = valid_name(pool.name), valid_text(pool.description)
    if not allowed(actor, "template.use", pool.template) or pool.template.data_center_id != pool.cluster.data_center_id:
        raise FieldError("template", "This is not a template that you may use there.")
    if not 1 <= pool.size <= LARGEST:
        raise FieldError("size", f"A pool has 1 to {LARGEST} machines.")
    if pool.prestarted > pool.size:
        raise FieldError("prestarted", "Not more than the pool has.")
    if pool.most_per_user < 1:
        raise FieldError("most_per_user", "At least one.")
    pool.keeper = actor
    try:
        with transaction.atomic():
            pool.rev += 1
            pool.save()
            verb = "created" if created else "changed"
            record(f"pool.{verb}", f"Pool {pool} was {verb}: {pool.size} machines of {pool.template}", obj=pool, user=actor)
    except IntegrityError:
        raise FieldError("name", f"Cluster {pool.cluster} has a pool named {pool.name} already.") from None
    publish("pool", pool.pk, "added" if created else "changed", pool.rev)
    return pool


def remove(actor: User, pool: Pool) -> None:
    """Its machines that nobody has go with it. Raises NotPossible while somebody has one."""
    require(actor, "pool.delete", pool)
    with transaction.atomic():
        locked = _locked(pool)
        if count := locked.machines.exclude(taken_by=None).count():
            raise NotPossible(f"{count} of its machines are taken: have them given back first.")
        for vm in locked.machines.all():
            VM.objects.filter(pk=vm.pk).update(to_reset=True)
        record("pool.removed", f"Pool {pool} was removed", obj=pool, user=actor)
        locked.delete()  # the machines stay as such, to be removed by the sweep
    publish("pool", pool.pk, "removed", pool.rev)


def _locked(pool: Pool) -> Pool:
    """Raises NotPossible when it is gone."""
    found = Pool.objects.select_for_update(of=("self",)).select_related("cluster", "template", "keeper").filter(pk=pool.pk).first()
    if found is None:
        raise NotPossible(f"Pool {pool} is gone.")
    return found


def free_machines(pool: Pool) -> QuerySet[VM]:
    """Those that can be taken."""
    return VM.objects.filter(pool=pool, taken_by=None, to_reset=False).exclude(status=VmStatus.IMAGE_LOCKED)


def why_not_take(user: User, pool: Pool) -> str:
    """Empty when the user can take one now."""
    if pool.machines.filter(taken_by=user).count() >= pool.most_per_user:
        return f"You have {pool.most_per_user} of {pool} already: give one back first."
    return "" if free_machines(pool).exists() else f"All machines of {pool} are taken."


def take(user: User, pool: Pool) -> VM:
    """Gives the user a machine of the pool, rather one that runs, and runs it. Raises NotPossible."""
    require(user, "pool.use", pool)
    with transaction.atomic():
        locked = _locked(pool)
        if reason := why_not_take(user, locked):
            raise NotPossible(reason)
        free = free_machines(locked).select_for_update(of=("self",)).select_related("cluster")
        vm = next((each for each in free.order_by("name") if each.status == VmStatus.UP), None) or free.order_by("name")[0]
        vm.taken_by, vm.taken_at, vm.rev = user, timezone.now(), vm.rev + 1
        vm.save(update_fields=["taken_by", "taken_at", "rev"])
        grant(ROLE, vm, user=user)
        record("pool.taken", f"{user} took {vm} of pool {pool}", obj=vm, user=user)
    publish("vm", vm.pk, "changed", vm.rev)
    publish_to(f"user:{user.pk}", {"type": "live.recheck"})
    _run(user, vm)
    return vm


def _run(user: User, vm: VM) -> None:
    """It is theirs even when it cannot run at once; its page then says why."""
    if vm.status == VmStatus.DOWN and holder_of(vm) is None:
        try:
            vms.act(user, vm, "start")
        except (NotPossible, ObjectBusy, ValidationError) as error:
            record("pool.not_started", f"{vm} could not be started: {error}", obj=vm, severity="warning", user=user)


def give_back(actor: User, vm: VM) -> None:
    """By who has it, or by who may edit the pool. Consoles of who had it close. Raises NotPossible."""
    if vm.pool is None or vm.taken_by_id is None:
        raise NotPossible(f"{vm} is not taken from a pool.")
    if vm.taken_by_id != actor.pk:
        require(actor, "pool.edit", vm.pool)
    with transaction.atomic():
        pool = _locked(vm.pool)
        vm = VM.objects.select_for_update(of=("self",)).select_related("cluster", "taken_by").get(pk=vm.pk)
        holder = vm.taken_by
        if holder is None:
            raise NotPossible(f"{vm} was given back already.")
        Grant.objects.filter(user=holder, role=Role.objects.get(name=ROLE), object_type="vm", object_id=vm.pk).delete()
        vm.taken_by, vm.taken_at, vm.to_reset, vm.rev = None, None, pool.stateless, vm.rev + 1
        vm.save(update_fields=["taken_by", "taken_at", "to_reset", "rev"])
        record("pool.given_back", f"{vm} of pool {pool} was given back by {actor}", obj=vm, user=actor)
    publish("vm", vm.pk, "changed", vm.rev)
    publish_to(f"user:{holder.pk}", {"type": "live.recheck"})
