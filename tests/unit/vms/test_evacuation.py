"""Emptying a host without a host: what is asked for, in which order, and what each outcome makes of it."""

import pytest
from django.utils import timezone

from hosts import services
from hosts.models import HostStatus, HostTransport
from jobs import runner
from jobs.models import Job, JobStatus
from tests.build import attach, make_cluster, make_disk, make_host, make_user, make_vm
from vms.migration import limits
from vms.migration.evacuation import departures
from vms.models import VM, VmStatus

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def full_host():
    """Two VMs that can leave, and one whose disk lies on the host alone."""
    cluster = make_cluster()
    host, _other = (make_host(name=name, cluster=cluster, transport=HostTransport.TLS) for name in ("node1", "node2"))
    for name in ("a", "b", "stuck"):
        make_vm(name=name, cluster=cluster, host=host, status=VmStatus.UP, memory_mib=512)
    attach(VM.objects.get(name="stuck"), make_disk(host=host))
    return host


def reload(job):
    job.refresh_from_db()
    return job


def children(job):
    return {
        Job.objects.get(pk=pk).object_name: Job.objects.get(pk=pk)
        for pk in Job.objects.filter(params__parent=str(job.pk)).values_list("pk", flat=True)
    }


def end(job, status, *, left):
    """As the job's own worker would."""
    if left:
        VM.objects.filter(pk=job.object_id).update(host=None)
    Job.objects.filter(pk=job.pk).update(status=status, error="" if left else "it stays")


def test_what_can_leave_and_what_cannot(full_host):
    found = {leaving.vm.name: leaving for leaving in departures(full_host)}
    assert (found["a"].target, found["a"].reason) == ("node2", "")
    assert "lies on node1 alone" in found["stuck"].reason


def test_nothing_fits_elsewhere(full_host):
    VM.objects.filter(name="a").update(memory_mib=1 << 20)
    reason = next(leaving.reason for leaving in departures(full_host) if leaving.vm.name == "a")
    assert reason.startswith("no other host can take it: node2")


def test_it_asks_for_each_once_waits_for_all_and_ends_in_maintenance(full_host):
    job = services.maintenance(make_user("root", role="SuperUser"), full_host, shut_down=True)
    runner.run(job.pk)
    assert reload(job).status == JobStatus.QUEUED and job.message == "0 of 3 VMs have left"
    found = children(job)
    assert {name: child.kind for name, child in found.items()} == {"a": "vm.migrate", "b": "vm.migrate", "stuck": "vm.shutdown"}
    end(found["a"], JobStatus.SUCCEEDED, left=True)
    runner.wake([job.pk])
    runner.run(job.pk)
    assert reload(job).status == JobStatus.QUEUED and len(children(job)) == 3
    full_host.refresh_from_db()
    assert full_host.status == HostStatus.PREPARING_FOR_MAINTENANCE
    for name in ("b", "stuck"):
        end(found[name], JobStatus.SUCCEEDED, left=True)
    runner.wake([job.pk])
    runner.run(job.pk)
    full_host.refresh_from_db()
    assert reload(job).status == JobStatus.SUCCEEDED and full_host.status == HostStatus.MAINTENANCE


def test_one_that_could_not_leave_keeps_the_host_in_service(full_host):
    job = services.maintenance(make_user("root", role="SuperUser"), full_host, shut_down=True)
    runner.run(job.pk)
    for child in children(job).values():
        end(child, JobStatus.FAILED if child.object_name == "b" else JobStatus.SUCCEEDED, left=child.object_name != "b")
    runner.wake([job.pk])
    runner.run(job.pk)
    full_host.refresh_from_db()
    assert reload(job).status == JobStatus.FAILED and "it stays" in job.error
    assert full_host.status == HostStatus.UP


def test_cancelled_it_calls_off_what_is_on_its_way(full_host):
    from jobs import engine

    root = make_user("root", role="SuperUser")
    job = services.maintenance(root, full_host, shut_down=True)
    runner.run(job.pk)
    engine.cancel(root, reload(job))
    runner.run(job.pk)
    full_host.refresh_from_db()
    assert reload(job).status == JobStatus.CANCELLED and full_host.status == HostStatus.UP
    assert all(child.cancel_requested for child in children(job).values())


def test_so_many_at_a_time(full_host):
    full_host.cluster.migrations_per_host = 1
    job = services.maintenance(make_user("root", role="SuperUser"), full_host, shut_down=True)
    runner.run(job.pk)
    first, second = children(job)["a"], children(job)["b"]
    facts = {"source": str(full_host.pk), "target": str(full_host.pk)}
    Job.objects.filter(pk=first.pk).update(status=JobStatus.RUNNING, facts=facts)
    with pytest.raises(limits.Later, match="1 VM"):
        limits.check_turn(second, full_host.cluster, full_host)
    limits.check_turn(first, full_host.cluster, full_host)
    Job.objects.filter(pk=first.pk).update(status=JobStatus.SUCCEEDED)
    limits.check_turn(second, full_host.cluster, full_host)


def test_when_one_ends_as_many_look_again_as_there_is_room_for(monkeypatch):
    """The oldest first; all of them would find nothing, and take the machine for it."""
    woken: list = []
    monkeypatch.setattr(limits, "wake", woken.extend)
    cluster = make_cluster(migrations_per_host=2, migrations_at_once=3)
    source, other = make_host(cluster=cluster), make_host(cluster=cluster)
    waiting = {"status": JobStatus.QUEUED, "retry_at": timezone.now()}

    def job(number, host, **fields):
        vm = make_vm(cluster=cluster, host=host, status=VmStatus.UP)
        return Job.objects.create(kind="vm.migrate", title=f"{number}", object_type="vm", object_id=vm.pk, **fields)

    first = [job(number, source, **waiting) for number in range(5)]
    beside = [job(number, other, **waiting) for number in range(2)]
    limits.next_turn()
    assert woken == [first[0].pk, first[1].pk, beside[0].pk], "two of the one host, and three in all"
    woken.clear()
    job(9, source, status=JobStatus.RUNNING, facts={"source": str(source.pk), "target": str(other.pk)})
    limits.next_turn()
    assert woken == [first[0].pk, beside[0].pk], "each end of what is on its way counts"
    woken.clear()
    VM.objects.filter(pk=first[0].object_id).delete()
    Job.objects.filter(pk=first[1].pk).update(retry_at=None)
    limits.next_turn()
    assert woken == [first[0].pk, first[2].pk, beside[0].pk], "one whose VM is gone ends by itself; one that was woken is not woken again"


def test_the_page_tells_what_leaves_and_asks_about_the_rest(full_host, client):
    client.force_login(make_user("root", role="SuperUser"))
    url = f"/hosts/{full_host.pk}/maintenance/"
    page = client.get(url).content.decode()
    assert "node2" in page and "cannot move" in page and "Shut down the VMs that cannot move" in page
    assert client.post(url).status_code == 422
    assert client.post(url, {"shut_down": "on"}).status_code == 302
    assert Job.objects.filter(kind="host.maintenance").exists()
