"""Rounds of balancing: what moves, how much, and when nothing does."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.models import Event
from hosts.models import Balancing, Cluster, Host, HostStatus, HostTransport, SchedulingPolicy
from jobs.models import Job, JobStatus
from storage.models import StorageDomainHost
from tests.build import make_cluster, make_disk, make_host, make_storage, make_user, make_vm
from vms.balancing import rounds
from vms.balancing.plans import movable_world
from vms.models import DiskAttachment, VmStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster():
    """Eight GiB promised on one host, nothing on the other."""
    made = make_cluster(balancing=Balancing.AUTOMATIC)
    full, _empty = (make_host(name=name, cluster=made, transport=HostTransport.TLS, memory_bytes=16 << 30) for name in ("full", "empty"))
    for number in range(8):
        make_vm(name=f"vm{number}", cluster=made, host=full, memory_mib=1024, status=VmStatus.UP)
    return made


def ended(jobs, ago=timedelta()):
    keys = [job.pk for job in jobs]
    for job in jobs:
        job.locks.all().delete()
    Job.objects.filter(pk__in=keys).update(status=JobStatus.SUCCEEDED, finished_at=timezone.now() - ago, created_at=timezone.now() - ago)


def test_a_round_moves_what_makes_hosts_alike_and_says_so_once(cluster):
    jobs = rounds.sweep()
    assert len(jobs) == 4
    assert all(job.title == f"Balance: {job.object_name} from full to empty" for job in jobs)
    assert Event.objects.filter(kind="cluster.balanced", object_id=cluster.pk).count() == 1
    assert rounds.sweep() == [], "while they are on their way nothing more is asked for"


def test_a_plan_larger_than_what_moves_at_once_is_asked_for_whole(cluster):
    """Each migration waits for its turn: a host is emptied by all of its moves or by none."""
    Cluster.objects.update(migrations_at_once=1)
    assert len(rounds.sweep()) == 4


def test_one_cluster_that_cannot_be_planned_keeps_no_other_waiting(cluster, monkeypatch):
    other = make_cluster(name="broken", balancing=Balancing.AUTOMATIC, data_center=cluster.data_center)
    make_host(name="b1", cluster=other, transport=HostTransport.TLS)
    Cluster.objects.filter(pk=other.pk).update(policy=SchedulingPolicy.objects.create(name="Broken", weights={"even": "much"}))
    assert len(rounds.sweep()) == 4


def test_a_cluster_that_packs_says_which_host_it_empties(cluster):
    policy = SchedulingPolicy.objects.get(name="Packed")
    Cluster.objects.update(policy=policy, migrations_at_once=1)
    make_vm(name="lonely", cluster=cluster, host=Host.objects.get(name="empty"), memory_mib=1024, status=VmStatus.UP)
    assert [job.object_name for job in rounds.sweep()] == ["lonely"]
    assert Event.objects.get(kind="cluster.balanced").message.endswith("1 VM moves so that empty becomes empty")


def test_a_host_that_cannot_be_migrated_to_is_no_target(cluster):
    Host.objects.filter(name="empty").update(transport=HostTransport.SSH)
    assert rounds.sweep() == []


def test_an_hour_has_only_so_many_moves_however_many_rounds(cluster):
    Cluster.objects.update(moves_per_hour=3)
    jobs = rounds.sweep()
    assert len(jobs) == 3
    ended(jobs)
    assert rounds.sweep() == [] and rounds.moves_left(Cluster.objects.get()) == 0
    ended(jobs, timedelta(hours=2))
    assert len(rounds.sweep()) == 3


def test_what_moved_lately_stays_where_it_is(cluster):
    jobs = rounds.sweep()
    ended(jobs)
    moved = {job.object_id for job in jobs}
    Cluster.objects.update(moves_per_hour=100)
    assert moved.isdisjoint({job.object_id for job in rounds.sweep()})


def test_a_small_gain_is_no_reason(cluster):
    Cluster.objects.update(minimal_gain=60)
    assert rounds.sweep() == []


@pytest.mark.parametrize("status", [HostStatus.NON_RESPONSIVE, HostStatus.FENCING, HostStatus.PREPARING_FOR_MAINTENANCE])
def test_a_cluster_with_other_worries_is_left_alone(cluster, status):
    make_host(name="third", cluster=cluster, status=status)
    assert rounds.sweep() == []


def test_by_hand_only_is_the_default_and_means_it(cluster):
    Cluster.objects.update(balancing=Balancing.OFF)
    assert make_cluster().balancing == Balancing.OFF
    assert rounds.sweep() == []


def test_vms_with_disks_of_their_hosts_own_stay(cluster):
    host = Host.objects.get(name="full")
    domain = make_storage(data_center=cluster.data_center, kind="local_dir")
    for vm in cluster.vms.all():
        DiskAttachment.objects.create(vm=vm, disk=make_disk(domain=domain, host=host), target="vda")
    assert rounds.sweep() == []


def test_a_host_without_the_storage_is_no_target(cluster):
    domain = make_storage(data_center=cluster.data_center)
    for vm in cluster.vms.all():
        DiskAttachment.objects.create(vm=vm, disk=make_disk(domain=domain), target="vda")
    StorageDomainHost.objects.filter(domain=domain).delete()
    for host in cluster.hosts.all():
        StorageDomainHost.objects.create(domain=domain, host=host, status="active" if host.name == "full" else "inactive")
    assert rounds.sweep() == []
    StorageDomainHost.objects.update(status="active")
    assert len(rounds.sweep()) == 4


def test_a_plan_takes_as_many_queries_whatever_the_cluster_has(cluster, django_assert_num_queries):
    with CaptureQueriesContext(connection) as few:
        movable_world(cluster)
    host = Host.objects.get(name="full")
    for number in range(8):
        make_vm(name=f"more{number}", cluster=cluster, host=host, memory_mib=64, status=VmStatus.UP)
    with django_assert_num_queries(len(few)):
        movable_world(cluster)


def test_a_little_wish_to_pack_does_not_empty_hosts(cluster):
    policy = SchedulingPolicy.objects.create(name="Nearly even", weights={"even": 10, "packed": 1})
    Cluster.objects.update(policy=policy)
    assert {job.title.rsplit(" ", 1)[-1] for job in rounds.sweep()} == {"empty"}


def test_what_people_carry_out_does_not_use_up_the_hour(cluster):
    rounds.carry_out(make_user(role="SuperUser"), cluster)
    assert rounds.moves_left(cluster) == cluster.moves_per_hour


# -- the page


def test_the_plan_is_carried_out_by_who_may_move_vms(client, cluster):
    Cluster.objects.update(balancing=Balancing.OFF)
    url = f"/clusters/{cluster.pk}/balance/"
    client.force_login(make_user(role="ReadOnlyAdmin"))
    assert "Carry out" not in client.get(f"/clusters/{cluster.pk}/scheduling/").content.decode()
    assert client.post(url).status_code == 403 and not Job.objects.exists()
    client.force_login(make_user("boss", role="ClusterAdmin", on=cluster))
    assert "Carry out" in client.get(f"/clusters/{cluster.pk}/scheduling/").content.decode()
    assert client.post(url).status_code == 302
    assert Job.objects.filter(kind="vm.migrate", user__username="boss").count() == 4
    page = client.get(f"/clusters/{cluster.pk}/scheduling/").content.decode()
    assert "is balanced: 4 VMs move" in page and "on their way" in page and "Carry out" not in page


def test_the_form_of_a_cluster_sets_the_limits(client, cluster):
    client.force_login(make_user(role="SuperUser"))
    fields = {"name": "c", "cpu_model": "qemu64", "migrations_per_host": 2, "migrations_at_once": 8, "minimal_gain": 15}
    fields |= {"balancing": "automatic", "moves_per_hour": 20}
    assert client.post(f"/clusters/{cluster.pk}/edit/", fields | {"moves_per_hour": 0}).status_code == 422
    assert client.post(f"/clusters/{cluster.pk}/edit/", fields).status_code == 302
    cluster.refresh_from_db()
    assert (cluster.balancing, cluster.moves_per_hour, cluster.minimal_gain) == ("automatic", 20, 15)
