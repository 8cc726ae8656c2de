"""A real cluster of two hosts, all guests on one, becomes even by itself; the guests run on."""

from hosts.models import Balancing, Cluster
from jobs.models import JobStatus
from tests.lab.test_evacuation import running_on
from vms import services
from vms.balancing import rounds
from vms.models import VM
from vms.services import NewVm


def test_one_round_makes_two_hosts_even_and_the_next_moves_nothing(registered):
    full, empty = registered.hosts
    for number in range(2):
        new = NewVm(
            name=f"web-{number}",
            cluster=registered.cluster,
            template=registered.template,
            memory_mib=1024,
            storage_domain=registered.shared,
            host=full,
            start=True,
        )
        _vm, job = services.create(registered.admin, new)
        assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    VM.objects.update(status="up")  # no watcher runs here, which would find it so a little later
    Cluster.objects.update(balancing=Balancing.AUTOMATIC, minimal_gain=1)
    (job,) = rounds.sweep()
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    assert (len(running_on(full)), len(running_on(empty))) == (1, 1)
    assert rounds.sweep() == []
