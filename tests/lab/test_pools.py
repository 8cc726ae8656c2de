"""A pool on real hosts: its machine runs before anyone asks, is taken and given back, and comes back as new."""

import pytest

from accounts.permissions import grant
from hosts.connect import link_of
from hypervisor import domains
from hypervisor import storage as volumes
from jobs.models import Job, JobStatus
from tests.build import make_user
from vms.models import VM, VmStatus
from vms.pools import services
from vms.pools.models import Pool
from vms.pools.sweep import sweep


def keep(registered) -> None:
    """A beat, and the jobs that it asked for."""
    sweep()
    for job in Job.objects.filter(status=JobStatus.QUEUED).order_by("created_at"):
        done = registered.run(job)
        assert done.status == JobStatus.SUCCEEDED, (done.title, done.error, done.error_detail)


def runs(vm: VM) -> bool:
    """By the row; nobody watches the host here, so "up" may still be to come."""
    return vm.status in (VmStatus.POWERING_UP, VmStatus.UP)


def volumes_left(registered) -> set[str]:
    pools = (registered.local.pool_name, registered.shared.pool_name)
    return {volume.path for host in registered.hosts for pool in pools for volume in volumes.list_volumes(link_of(host), pool)}


@pytest.fixture
def pool(registered):
    eve = make_user("eve")
    made = services.save(registered.admin, Pool(name="desk", cluster=registered.cluster, template=registered.template, prestarted=1))
    grant("VmPoolUser", made, user=eve)
    return made, eve


def test_a_machine_is_prestarted_taken_given_back_and_made_anew(registered, pool):
    desk, eve = pool
    keep(registered)  # made
    keep(registered)  # started
    first = desk.machines.get()
    assert runs(first)
    taken = services.take(eve, desk)
    assert taken == first and services.why_not_take(eve, desk)
    keep(registered)
    assert runs(VM.objects.get()), "what is taken stays as it is"
    paths = [each.disk.path for each in first.attachments.select_related("disk").filter(device="disk")]
    services.give_back(eve, VM.objects.select_related("pool").get(pk=first.pk))
    for _ in range(4):  # powered off, removed, made, started: a beat each
        keep(registered)
    second = desk.machines.get()
    assert second.pk != first.pk and runs(second)
    assert [record.uuid for host in registered.hosts for record in domains.list_domains(link_of(host))] == [str(second.pk)]
    assert paths and not volumes_left(registered) & set(paths), "nothing of the old machine stays"
