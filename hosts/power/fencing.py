"""Looking after silent hosts: who is to be fenced is decided by hosts.power.policy, over what this module reads."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from events.log import record
from events.models import Severity
from hosts import observe
from hosts.models import Cluster, Host, HostStatus
from hosts.power import guests, state, storage
from hosts.power.models import HostPower
from hosts.power.policy import ALERTS, Decision, Machine, Policy, Signs, decide
from jobs import engine
from jobs.errors import ObjectBusy
from jobs.models import Job, Lock

# In service: silence of one of these is news. A host that is down is known to be off.
_EXPECTED = frozenset(
    {HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.PREPARING_FOR_MAINTENANCE, HostStatus.NON_RESPONSIVE, HostStatus.FENCING}
)


def sweep() -> None:
    """Decides on every silent host, keeps the decision, and starts what follows. Any number of sweeps may run at once."""
    _forget_decisions()
    silent = Host.objects.filter(status__in=(HostStatus.NON_RESPONSIVE, HostStatus.FENCING))
    for cluster in Cluster.objects.filter(pk__in=silent.values("cluster_id")):
        for host in silent.filter(cluster=cluster).order_by("status_since", "name"):
            _look_at(cluster, host)


def _forget_decisions() -> None:
    """Of hosts that answer again, or are in maintenance."""
    settled = HostPower.objects.exclude(decision="").exclude(host__status__in=(HostStatus.NON_RESPONSIVE, HostStatus.FENCING))
    for power in settled.exclude(host__status=HostStatus.DOWN).select_related("host"):
        state.decided(power.host, Decision.NONE, "")
        state.fencing_done(power.host)


def _look_at(cluster: Cluster, host: Host) -> None:
    if host.status == HostStatus.FENCING:
        if engine.holder_of(host) is None:  # its job ended without a word: an upgrade came between
            observe.not_fenced(host, "its fencing was broken off")
        return
    decision, reason = decide_now(cluster, host)
    if decision == Decision.FENCE:
        try:
            engine.submit("host.fence", user=None, target=host, title=f"Fence host {host.name}")
        except ObjectBusy as error:
            decision, reason = Decision.BUSY, str(error)
    if state.decided(host, decision, reason) and decision in ALERTS:
        words = f"Host {host.name} does not answer and is not fenced. {reason}"
        record("host.not_fenced", words, obj=host, severity=Severity.WARNING)


def decide_now(cluster: Cluster, host: Host) -> tuple[Decision, str]:
    """Looks for signs of life on the host itself only when all else is for fencing it: that takes seconds."""
    policy, machines = policy_of(cluster), snapshot(cluster)
    if all(machine.id != host.pk for machine in machines):
        return Decision.NONE, ""
    verdict = decide(policy, machines, host.pk, Signs())
    if verdict[0] != Decision.FENCE:
        return verdict
    return decide(policy, machines, host.pk, _signs(policy, host))


def _signs(policy: Policy, host: Host) -> Signs:
    answering = guests.answering(host) if policy.skip_if_guests_answer else None
    if answering or not policy.skip_if_storage_written:
        return Signs(answering)
    return Signs(answering, tuple(storage.written(host)))


def claim(host: Host) -> str:
    """For the job: decides once more and makes the host `fencing`, or says why not. Two jobs of one cluster come one after the other."""
    signs = _signs(policy_of(host.cluster), host)
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=host.cluster_id)
        decision, reason = decide(policy_of(cluster), snapshot(cluster, deciding=host.pk), host.pk, signs)
        if decision == Decision.FENCE:
            return "" if observe.fencing(host, "it is being fenced") else f"{host.name} answers again."
    state.decided(host, decision, reason)
    return reason or f"{host.name} answers again."


def policy_of(cluster: Cluster) -> Policy:
    return Policy(
        enabled=cluster.fencing_enabled,
        after_seconds=cluster.fence_after_seconds,
        skip_percent=cluster.fence_skip_percent,
        skip_if_guests_answer=cluster.fence_skip_if_guests_answer,
        skip_if_storage_written=cluster.fence_skip_if_storage_written,
        kdump_seconds=cluster.fence_kdump_seconds,
    )


def snapshot(cluster: Cluster, deciding: UUID | None = None) -> tuple[Machine, ...]:
    """The cluster's hosts as they are now. Args: deciding: the host whose own fencing job asks, so that job does not count."""
    now = timezone.now()
    hosts = list(
        Host.objects.filter(cluster=cluster).defer("capabilities").annotate(agent_count=Count("power_agents")).select_related("power")
    )
    locks = Lock.objects.select_related("job").filter(object_type=Host.OBJECT_TYPE, object_id__in=[host.pk for host in hosts])
    jobs = {lock.object_id: lock.job for lock in locks if lock.object_id != deciding}
    return tuple(_machine(host, jobs.get(host.pk), now) for host in hosts)


def _machine(host: Host, job: Job | None, now: datetime) -> Machine:
    power = getattr(host, "power", None)
    waits = job is not None and job.kind == "host.fence" and host.status == HostStatus.NON_RESPONSIVE
    return Machine(
        id=host.pk,
        name=host.name,
        silent=host.status == HostStatus.NON_RESPONSIVE,
        silent_seconds=(now - host.status_since).total_seconds() if host.status_since else 0,
        expected=host.status in _EXPECTED and host.last_seen_at is not None,
        agents=host.agent_count,  # type: ignore[attr-defined]
        enabled=power.enabled if power else True,
        fencing=host.status == HostStatus.FENCING or waits,
        retry_in=(power.retry_at - now).total_seconds() if power and power.retry_at else 0,
        busy=job.title if job is not None else "",
    )
