"""Rounds of balancing: asked for by beat, or by a person who carries out the plan that the page shows."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.permissions import require
from events.log import record
from hosts.models import Balancing, Cluster
from hosts.scheduling.balance import Move, Plan
from jobs.engine import submit
from jobs.errors import ObjectBusy
from jobs.models import Job
from portal.errors import NotPossible
from vms.balancing.plans import movable_world, plan_of, why_not_now
from vms.models import VM

log = logging.getLogger(__name__)

BY_HAND = 10  # moves of a plan that a person carries out


def sweep(now: datetime | None = None) -> list[Job]:
    """Each cluster that balances itself, once. Two sweeps at the same moment wait for each other at the cluster's row."""
    now = now or timezone.now()
    found = []
    for key in Cluster.objects.filter(balancing=Balancing.AUTOMATIC).values_list("pk", flat=True):
        try:
            found += _round_of(key, now)
        except Exception:
            log.exception("Cluster %s could not be balanced", key)  # the others are
    return found


def _round_of(key: UUID, now: datetime) -> list[Job]:
    """Nothing when the cluster is gone by now, or balances itself no more."""
    with transaction.atomic():
        rows = Cluster.objects.select_for_update(of=("self",)).select_related("policy")
        cluster = rows.filter(pk=key, balancing=Balancing.AUTOMATIC).first()
        return _round(cluster, moves_left(cluster, now), None, now) if cluster is not None else []


def moves_left(cluster: Cluster, now: datetime | None = None) -> int:
    """How many VMs may still be moved by balancing itself within this hour; what people carry out does not count."""
    since = (now or timezone.now()) - timedelta(hours=1)
    done = Job.objects.filter(kind="vm.migrate", params__balancing=str(cluster.pk), user=None, created_at__gt=since).count()
    return max(0, cluster.moves_per_hour - done)


def carry_out(user: User, cluster: Cluster) -> list[Job]:
    """What the policy would move now, asked for by a person: the hour's limit is for Vireo, not for them.

    Raises:
        PermissionDenied; NotPossible: nothing can move now, or no move would help.
    """
    require(user, "vm.migrate", cluster)
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update(of=("self",)).select_related("policy").get(pk=cluster.pk)
        if reason := why_not_now(cluster):
            raise NotPossible(reason)
        jobs = _round(cluster, BY_HAND, user, timezone.now())
    if not jobs:
        raise NotPossible(f"No move would make cluster {cluster.name} better now.")
    return jobs


def _round(cluster: Cluster, most: int, user: User | None, now: datetime) -> list[Job]:
    if most <= 0 or why_not_now(cluster):
        return []
    plan = plan_of(movable_world(cluster, now), most, cluster.minimal_gain)
    jobs = [job for move in plan.moves if (job := _ask(cluster, move, user)) is not None]
    if jobs:
        record("cluster.balanced", _summary(cluster, plan, len(jobs)), obj=cluster, user=user)
    return jobs


def _summary(cluster: Cluster, plan: Plan, asked: int) -> str:
    """What is gained is said only when every move of the plan was asked for."""
    text = f"Cluster {cluster.name} is balanced: {asked} VM{'s move' if asked > 1 else ' moves'}"
    if asked < len(plan.moves):
        return f"{text}, {len(plan.moves) - asked} of the plan had become busy"
    if plan.freed:
        return f"{text} so that {', '.join(host.name for host in plan.freed)} become{'s' if len(plan.freed) == 1 else ''} empty"
    return f"{text}, and its hosts differ by {plan.after:.1f} points instead of {plan.before:.1f}"


def _ask(cluster: Cluster, move: Move, user: User | None) -> Job | None:
    """None when another job took the VM meanwhile, or removed it."""
    vm = VM.objects.filter(pk=move.guest.id).first()
    if vm is None:
        return None
    title = f"Balance: {vm.name} from {move.source.name} to {move.target.name}"
    params = {"target": move.target.id, "balancing": str(cluster.pk)}
    try:
        with transaction.atomic():
            return submit("vm.migrate", user=user, target=vm, title=title, params=params)
    except ObjectBusy:
        return None
