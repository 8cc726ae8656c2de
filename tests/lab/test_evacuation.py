"""A real host is emptied: its guests move, as many at a time as the cluster allows, and run on; then it rests."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from hosts import services as hosts
from hosts.connect import link_of
from hosts.models import Host, HostStatus
from hypervisor import domains
from hypervisor.domain_state import DomainState
from jobs import runner
from jobs.models import Job, JobStatus
from tests.waiting import until
from vms import services
from vms.migration import limits
from vms.models import VM
from vms.services import NewVm


def running_on(host):
    return {record.uuid for record in domains.list_domains(link_of(host)) if record.state == DomainState.RUNNING}


def fill(registered, host, count):
    """Running guests on one host, with disks that both see."""
    for number in range(count):
        new = NewVm(
            name=f"web-{number}",
            cluster=registered.cluster,
            template=registered.template,
            memory_mib=96,
            storage_domain=registered.shared,
            host=host,
            start=True,
        )
        _vm, job = services.create(registered.admin, new)
        assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    return {str(pk) for pk in VM.objects.filter(host=host).values_list("pk", flat=True)}


def work(job, most):
    """As workers would: whatever waits is run, by several threads, until the job has ended."""

    def run(pk):
        try:
            runner.run(pk)
        finally:
            connections.close_all()

    def step():
        most.append(limits.moving().count())
        for pk in Job.objects.filter(status=JobStatus.QUEUED, retry_at__isnull=True).exclude(pk__in=taken).values_list("pk", flat=True):
            taken.append(pk)
            pool.submit(run, pk).add_done_callback(lambda _future, pk=pk: taken.remove(pk))
        job.refresh_from_db()
        return job.status in JobStatus.finished()

    taken = []
    with ThreadPoolExecutor(4) as pool:
        until(step, 90, "the job to end")


def test_a_host_is_emptied_and_rests(registered):
    home, other = registered.hosts
    guests = fill(registered, home, 3)
    registered.cluster.migrations_per_host = 2
    registered.cluster.save(update_fields=["migrations_per_host"])
    job, most = hosts.maintenance(registered.admin, Host.objects.get(pk=home.pk)), []
    work(job, most)
    assert job.status == JobStatus.SUCCEEDED, (job.error, [child.error for child in Job.objects.filter(kind="vm.migrate")])
    assert max(most) <= 2
    home.refresh_from_db()
    assert home.status == HostStatus.MAINTENANCE
    assert (running_on(home), running_on(other)) == (set(), guests)
    assert set(VM.objects.values_list("host__name", flat=True)) == {other.name}
