"""How many VMs move at the same time: so many in or out of one host, so many in a cluster. The others wait for their turn."""

from collections.abc import Callable
from uuid import UUID

from django.db.models import Q, QuerySet

from hosts.models import Cluster, Host
from jobs.errors import Later
from jobs.models import Job, JobStatus
from jobs.runner import wake

WOKEN = 16  # of those that wait, at each end of a migration


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


def waiting() -> list[UUID]:
    """Migrations that wait for their turn, the oldest first."""
    queued = Job.objects.filter(kind="vm.migrate", status=JobStatus.QUEUED, retry_at__isnull=False, undoing=False)
    return list(queued.order_by("created_at").values_list("pk", flat=True)[:WOKEN])


def next_turn() -> None:
    """One has ended: those that wait look again."""
    wake(waiting())
