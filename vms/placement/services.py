"""Placing a VM, and the verbs on affinity groups."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from hosts.models import Cluster, Host
from hosts.scheduling.choose import Decision, Verdict, decide
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.names import valid_name, valid_text
from storage.models import Disk
from vms.models import VM
from vms.placement.models import AffinityGroup, PlacementDecision
from vms.placement.snapshot import guest_of, world_of

KEPT = 10  # decisions of each VM
SHOWN = 200  # hosts in a stored decision: the best and the refused, half each in a larger cluster


def choose(vm: VM, job: Job | None = None, copied: Iterable[Disk] = (), wished: Host | None = None, away: bool = False) -> Host:
    """Chooses the VM's host and writes down why; the row of the VM stays as it is.

    A VM that is defined on a host stays there if it can. One cluster places one VM at a time, and what was promised
    counts from then on, so two starts never take the same memory.

    Args:
        copied: disks beside its own that its host must reach.
        wished: this host or none.
        away: not the host that it is on.

    Raises:
        NotPossible: no host can take it; the text names each and why not.
    """
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update(of=("self",)).select_related("policy").get(pk=vm.cluster_id)
        world = world_of(cluster)
        if away:
            world = replace(
                world, hosts=tuple(replace(host, out="it runs there") if host.id == str(vm.host_id) else host for host in world.hosts)
            )
        decision = decide(world, guest_of(vm, copied, wished))
        home = next((verdict.host for verdict in decision.verdicts if verdict.host.id == str(vm.host_id) and not verdict.refused_by), None)
        chosen = home or decision.chosen
        row = _remember(vm, cluster, job, decision, chosen.id if chosen is not None else None, home is not None)
    if row.host is None:
        raise NotPossible(f"No host of cluster {cluster.name} can run this VM ({decision.why_none}).")
    return row.host


def _remember(vm: VM, cluster: Cluster, job: Job | None, decision: Decision, host_id: str | None, stays: bool) -> PlacementDecision:
    best = [verdict for verdict in decision.verdicts if not verdict.refused_by]
    refused = [verdict for verdict in decision.verdicts if verdict.refused_by]
    shown = [*best[: max(SHOWN // 2, SHOWN - len(refused))], *refused[: max(SHOWN // 2, SHOWN - len(best))]]
    row = PlacementDecision.objects.create(
        vm=vm,
        cluster=cluster,
        job=job,
        host_id=host_id,
        policy=cluster.policy.name if cluster.policy is not None else "Even",
        stays=stays,
        weights=[list(pair) for pair in decision.weights],
        verdicts=[_as_json(verdict) for verdict in shown],
        left_out=len(decision.verdicts) - len(shown),
    )
    old = PlacementDecision.objects.filter(vm=vm).order_by("-at").values_list("pk", flat=True)[KEPT:]
    PlacementDecision.objects.filter(pk__in=list(old)).delete()
    return row


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "id": verdict.host.id,
        "name": verdict.host.name,
        "refused_by": verdict.refused_by,
        "reason": verdict.reason,
        "scores": [round(score, 3) for score in verdict.scores],
        "total": round(verdict.total, 3),
    }


def save_group(actor: User, group: AffinityGroup, members: Collection[VM]) -> AffinityGroup:
    """Makes or changes one; running VMs are not moved by it. Raises PermissionDenied, FieldError."""
    require(actor, "cluster.edit", group.cluster)
    group.name, group.description = valid_name(group.name), valid_text(group.description)
    if any(vm.cluster_id != group.cluster_id for vm in members):
        raise FieldError("vms", f"Only VMs of cluster {group.cluster} belong here.")
    created = group._state.adding
    verb, names = "created" if created else "changed", ("name", "description", "positive", "hard")
    try:
        with transaction.atomic():
            before = {} if created else audit.stored(group, *names) | {"vms": _names(group.vms.all())}
            group.rev += 1
            group.save()
            group.vms.set(members)
            change = audit.changes(before, audit.snapshot(group, *names) | {"vms": _names(members)})
            record(
                f"affinity.{verb}", f"Affinity group {group} of {group.cluster} was {verb}", obj=group.cluster, user=actor, change=change
            )
    except IntegrityError:
        raise FieldError("name", f"Cluster {group.cluster} has an affinity group named {group.name} already.") from None
    return group


def _names(vms: Iterable[VM]) -> list[str]:
    return sorted(vm.name for vm in vms)


def remove_group(actor: User, group: AffinityGroup) -> None:
    require(actor, "cluster.edit", group.cluster)
    with transaction.atomic():
        record("affinity.removed", f"Affinity group {group} of {group.cluster} was removed", obj=group.cluster, user=actor)
        group.delete()
