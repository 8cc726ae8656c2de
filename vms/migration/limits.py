"""How many VMs move at the same time: so many in or out of one host, so many in a cluster. The others wait for their turn."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from django.db.models import Q, QuerySet

from hosts.models import Cluster, Host
from jobs.errors import Later
from jobs.models import Job, JobStatus
from jobs.runner import wake
from vms.models import VM

MOST_WAITING = 500  # of those that wait, as many are looked at when one ends


def moving() -> QuerySet[Job]:
    """The migrations that have a source and a target."""
    return Job.objects.filter(kind="vm.migrate", status=JobStatus.RUNNING, facts__has_key="target")


def check_turn(job: Job, cluster: Cluster, *hosts: Host) -> None:
    """Raises Later while the cluster, or one of the hosts, has as many on their way as it allows."""
    if why := _full(job, cluster, hosts):
        raise Later(why, ready=_is_free(job, cluster, hosts))


def _full(job: Job, cluster: Cluster, hosts: tuple[Host, ...]) -> str:
    others = moving().exclude(pk=job.pk)
    ids = [str(pk) for pk in cluster.hosts.values_list("pk", flat=True)]
    if others.filter(facts__source__in=ids).count() >= cluster.migrations_at_once:
        return f"Waits: {cluster.migrations_at_once} VMs of cluster {cluster} are on their way"
    for host in hosts:
        if others.filter(Q(facts__source=str(host.pk)) | Q(facts__target=str(host.pk))).count() >= cluster.migrations_per_host:
            return f"Waits: {cluster.migrations_per_host} VMs are on their way from or to {host}"
    return ""


def _is_free(job: Job, cluster: Cluster, hosts: tuple[Host, ...]) -> Callable[[], bool]:
    return lambda: not _full(job, cluster, hosts)


def next_turn() -> None:
    """One has ended: of those that wait, as many look again as there is room for. All of them would mostly find that there is none."""
    wake(_due())


def _due() -> list[UUID]:
    """The oldest first; where each wants to go it decides itself, so only its source is counted."""
    waits = Job.objects.filter(kind="vm.migrate", status=JobStatus.QUEUED, retry_at__isnull=False, undoing=False).order_by("created_at")
    asked = dict(waits.values_list("pk", "object_id")[:MOST_WAITING])
    vms = VM.objects.select_related("cluster").in_bulk(set(asked.values()))
    here, clusters = _on_their_way()
    due = []
    for job, key in asked.items():
        vm = vms.get(key)
        if vm is not None:
            cluster, source = vm.cluster, str(vm.host_id)
            if clusters[cluster.pk] >= cluster.migrations_at_once or here[source] >= cluster.migrations_per_host:
                continue
            clusters[cluster.pk] += 1
            here[source] += 1
        due.append(job)
    return due


def _on_their_way() -> tuple[Counter[str], Counter[UUID]]:
    """How many, by host and by cluster."""
    ends = list(moving().values_list("facts__source", "facts__target"))
    cluster_of = dict(Host.objects.filter(pk__in={source for source, _target in ends}).values_list("pk", "cluster_id"))
    clusters = Counter(cluster_of[UUID(source)] for source, _target in ends if UUID(source) in cluster_of)
    return Counter(end for pair in ends for end in pair), clusters
