"""Which host a VM gets, from rows; the decision that is stored; and what was promised is not given away twice."""

import threading

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection

from hosts.models import HostStatus
from hosts.scheduling.world import OVERHEAD_MIB, RESERVED_MIB
from jobs.models import Job, JobStatus
from portal.errors import FieldError, NotPossible
from storage.models import StorageDomainHost, StorageStatus
from tests.build import make_cluster, make_disk, make_host, make_storage, make_user, make_vm
from vms.models import DiskAttachment, VmStatus
from vms.placement import services
from vms.placement.models import AffinityGroup, PlacementDecision
from vms.placement.services import choose

pytestmark = pytest.mark.django_db
REASON = {HostStatus.FENCING: "being fenced", HostStatus.INSTALLING: "being installed"}


@pytest.fixture
def cluster():
    return make_cluster(name="Default")


def new_vm(cluster, **fields):
    return make_vm(**{"cluster": cluster, "host": None, "memory_mib": 128, "status": VmStatus.DOWN} | fields)


def with_disk(vm, **fields):
    DiskAttachment.objects.create(vm=vm, disk=make_disk(**fields), target="vda")
    return vm


def job(**fields):
    return Job.objects.create(**{"kind": "vm.start", "title": "Run it", "object_type": "vm", "object_id": "0" * 32} | fields)


def test_the_host_with_most_left_is_taken(cluster):
    full, empty = make_host(name="full", cluster=cluster), make_host(name="empty", cluster=cluster)
    make_vm(host=full, memory_mib=1024, status=VmStatus.UP)
    make_vm(host=empty, memory_mib=4096, status=VmStatus.DOWN)
    assert choose(new_vm(cluster)) == empty


def test_one_that_is_being_made_counts_as_if_it_ran(cluster):
    first, second = make_host(name="a", cluster=cluster), make_host(name="b", cluster=cluster)
    make_vm(host=first, memory_mib=512, status=VmStatus.IMAGE_LOCKED)
    assert choose(new_vm(cluster)) == second


@pytest.mark.parametrize("status", [status for status in HostStatus if status != HostStatus.UP])
def test_only_a_host_that_is_up_is_taken(cluster, status):
    make_host(name="node1", cluster=cluster, status=status)
    with pytest.raises(NotPossible, match=f"node1: it is .*{REASON.get(status, status.label.lower())}"):
        choose(new_vm(cluster))


def test_a_vm_fits_to_the_last_mebibyte_and_no_further(cluster):
    host = make_host(name="node1", cluster=cluster, memory_bytes=(RESERVED_MIB + OVERHEAD_MIB + 1024) << 20)
    assert choose(new_vm(cluster, memory_mib=1024)) == host
    with pytest.raises(NotPossible, match="MiB left of the"):
        choose(new_vm(cluster, memory_mib=1025))


def test_local_disks_decide_the_host(cluster):
    here, elsewhere = make_host(name="here", cluster=cluster, memory_bytes=2 << 30), make_host(name="elsewhere", cluster=cluster)
    domain = make_storage(name="local", data_center=cluster.data_center)
    for host in (here, elsewhere):
        StorageDomainHost.objects.create(domain=domain, host=host, status=StorageStatus.ACTIVE)
    vm = with_disk(new_vm(cluster), domain=domain, host=here)
    assert choose(vm) == here
    here.status = HostStatus.MAINTENANCE
    here.save()
    with pytest.raises(NotPossible, match="elsewhere: its disks lie on here") as refused:
        choose(vm)
    assert "here: it is in maintenance" in refused.value.reason


def test_a_host_without_the_storage_is_passed_over_with_its_reason(cluster):
    storage = make_storage(name="shared", data_center=cluster.data_center)
    make_host(name="a", cluster=cluster)
    with_it = make_host(name="b", cluster=cluster, memory_bytes=2 << 30)
    vm = with_disk(new_vm(cluster), domain=storage)
    with pytest.raises(NotPossible, match="a, b: storage domain shared is not active there"):
        choose(vm)
    StorageDomainHost.objects.create(domain=storage, host=with_it, status=StorageStatus.ACTIVE)
    assert choose(vm) == with_it


def test_an_empty_cluster_says_so(cluster):
    with pytest.raises(NotPossible, match="Default can run this VM .it has no hosts."):
        choose(new_vm(cluster))


def test_a_vm_stays_where_it_is_defined_unless_something_speaks_against_it(cluster):
    home, empty = make_host(name="home", cluster=cluster), make_host(name="empty", cluster=cluster)
    make_vm(host=home, memory_mib=1024, status=VmStatus.UP)
    vm = new_vm(cluster, host=home)
    assert choose(vm) == home and PlacementDecision.objects.get().stays
    home.status = HostStatus.MAINTENANCE
    home.save()
    assert choose(vm) == empty


@pytest.mark.parametrize("tie", [{"firmware": "efi"}, {"origin": "adopted"}, {"status": VmStatus.SUSPENDED}])
def test_what_lies_on_its_host_beside_the_domain_keeps_it_there(cluster, tie):
    home = make_host(name="home", cluster=cluster, status=HostStatus.MAINTENANCE)
    make_host(name="empty", cluster=cluster)
    with pytest.raises(NotPossible, match="empty: it"):
        choose(new_vm(cluster, host=home, **tie))


def test_a_host_that_was_asked_for_is_taken_or_none(cluster):
    make_host(name="a", cluster=cluster)
    wished = make_host(name="b", cluster=cluster, memory_bytes=2 << 30)
    assert choose(new_vm(cluster), wished=wished) == wished
    with pytest.raises(NotPossible, match="a: b was asked for"):
        choose(new_vm(cluster, memory_mib=4096), wished=wished)


def test_what_a_running_job_was_promised_is_taken_until_the_job_ends(cluster):
    make_host(name="node1", cluster=cluster, memory_bytes=(RESERVED_MIB + 2 * OVERHEAD_MIB + 1500) << 20)
    running = job(status=JobStatus.RUNNING)
    choose(new_vm(cluster, memory_mib=1000), running)
    with pytest.raises(NotPossible, match="it has 564 MiB left of the 1064 MiB"):
        choose(new_vm(cluster, memory_mib=1000), job())
    Job.objects.filter(pk=running.pk).update(status=JobStatus.FAILED)
    assert choose(new_vm(cluster, memory_mib=1000), job())


@pytest.mark.django_db(transaction=True)
def test_of_many_starts_at_once_only_those_that_fit_are_promised(cluster):
    make_host(name="node1", cluster=cluster, memory_bytes=(RESERVED_MIB + 3 * (OVERHEAD_MIB + 512)) << 20)
    vms = [new_vm(cluster, memory_mib=512) for _ in range(8)]
    jobs = [job() for _ in vms]
    begin, found = threading.Barrier(len(vms)), []

    def start(vm, its_job):
        begin.wait()
        try:
            found.append(choose(vm, its_job))
        except NotPossible:
            found.append(None)
        finally:
            connection.close()

    threads = [threading.Thread(target=start, args=pair) for pair in zip(vms, jobs, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and sum(host is not None for host in found) == 3


def test_the_decision_is_kept_with_its_reasons_also_when_there_is_no_host(cluster):
    make_host(name="a", cluster=cluster), make_host(name="b", cluster=cluster, status=HostStatus.DOWN)
    vm = new_vm(cluster)
    chosen = choose(vm)
    row = PlacementDecision.objects.get()
    assert row.host == chosen and [verdict["name"] for verdict in row.verdicts] == ["a", "b"]
    assert row.verdicts[1]["reason"] == "it is down" and row.verdicts[0]["total"] > 0 and dict(row.weights)["even"] == 4
    with pytest.raises(NotPossible):
        choose(new_vm(cluster, memory_mib=1 << 20))
    assert PlacementDecision.objects.first().host is None
    for _ in range(services.KEPT + 3):
        choose(vm)
    assert vm.decisions.count() == services.KEPT


def test_affinity_groups_are_rules(cluster):
    first, second = make_host(name="a", cluster=cluster), make_host(name="b", cluster=cluster)
    db, web = make_vm(cluster=cluster, host=first, status=VmStatus.UP, memory_mib=1024, name="db"), new_vm(cluster, name="web")
    admin = make_user("admin", role="SuperUser")
    group = services.save_group(admin, AffinityGroup(name="pair", cluster=cluster, positive=True), [db, web])
    assert choose(web) == first
    group.positive = False
    services.save_group(admin, group, [db, web])
    assert choose(web) == second
    services.remove_group(admin, group)
    assert not AffinityGroup.objects.exists()


def test_a_group_takes_only_vms_of_its_cluster_and_only_from_who_may(cluster):
    other = make_vm(name="other")
    admin = make_user("admin", role="SuperUser")
    with pytest.raises(FieldError, match="Only VMs of cluster Default"):
        services.save_group(admin, AffinityGroup(name="pair", cluster=cluster), [other])
    with pytest.raises(PermissionDenied, match="cluster.edit"):
        services.save_group(make_user("eve"), AffinityGroup(name="pair", cluster=cluster), [])
