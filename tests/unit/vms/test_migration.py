"""What the page and the verb of live migration ask and refuse, without a host."""

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse
from django.utils import timezone

from hosts.models import HostStatus, HostTransport
from hypervisor.migration import MigrationOptions
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from tests.build import make_cluster, make_host, make_user, make_vm
from vms import observe
from vms import services as vms
from vms.migration import services
from vms.models import VM, VmStatus

QEMU = {"driver": "QEMU", "capabilities": {"features": ["display", "migrate"]}}


@pytest.fixture
def running(db):
    cluster = make_cluster()
    here, there = (make_host(name=name, cluster=cluster, transport=HostTransport.TLS, **QEMU) for name in ("node1", "node2"))
    return make_vm(cluster=cluster, host=here, status=VmStatus.UP), there


@pytest.fixture
def root(db):
    return make_user("root", role="SuperUser")


def test_it_locks_the_vm_and_keeps_what_was_asked(running, root):
    vm, there = running
    job = services.migrate(root, vm, there, MigrationOptions(bandwidth_mib=8, post_copy=True))
    assert (job.kind, job.title) == ("vm.migrate", f"Migrate {vm.name} to node2")
    assert job.params["target"] == str(there.pk)
    assert (job.params["options"]["bandwidth_mib"], job.params["options"]["post_copy"]) == (8, True)
    with pytest.raises(NotPossible, match="busy"):
        services.migrate(root, vm, there)


def test_without_options_nothing_is_kept_that_would_outlive_a_change_of_the_policy(running, root):
    vm, there = running
    assert services.migrate(root, vm, there).params["options"] is None


def test_who_may_only_use_a_vm_does_not_move_it(running):
    vm, there = running
    with pytest.raises(PermissionDenied):
        services.migrate(make_user("eve", role="UserRole", on=vm), vm, there)


@pytest.mark.parametrize(("status", "words"), [(VmStatus.DOWN, "not running"), (VmStatus.PAUSED, "resume it first")])
def test_what_does_not_run_does_not_move(running, root, status, words):
    vm, there = running
    VM.objects.filter(pk=vm.pk).update(status=status)
    with pytest.raises(NotPossible, match=words):
        services.migrate(root, VM.objects.select_related("cluster", "host").get(pk=vm.pk), there)


def test_a_host_of_another_cluster_and_its_own_are_no_targets(running, root):
    vm, _there = running
    for wrong in (vm.host, make_host(name="far", cluster=make_cluster(name="Other"))):
        with pytest.raises(FieldError, match="another host of cluster"):
            services.migrate(root, vm, wrong)


@pytest.mark.parametrize("options", [{"bandwidth_mib": -1}, {"bandwidth_mib": 1 << 21}, {"downtime_ms": 60_001}, {"post_copy_after_s": 0}])
def test_numbers_out_of_range_are_refused(running, root, options):
    vm, there = running
    with pytest.raises(FieldError):
        services.migrate(root, vm, there, MigrationOptions(**options))


def test_a_host_reached_by_ssh_sends_no_guest_away(running, root):
    vm, there = running
    vm.host.transport = HostTransport.SSH
    vm.host.save(update_fields=["transport"])
    with pytest.raises(NotPossible, match="over TLS"):
        services.migrate(root, vm, there)


def test_the_page_lists_the_other_hosts_with_what_speaks_against_them(running, root, client):
    vm, there = running
    there.status = HostStatus.MAINTENANCE
    there.save(update_fields=["status"])
    client.force_login(root)
    page = client.get(reverse("vms:migrate", args=[vm.pk])).content.decode()
    assert "node2: " in page and "the best host" in page
    answer = client.post(reverse("vms:migrate", args=[vm.pk]), {"host": str(vm.host_id), "bandwidth_mib": "0"})
    assert answer.status_code == 422 and "node1" not in str(answer.context["form"].fields["host"].choices)


def test_while_it_moves_it_is_shown_where_it_runs_and_ends_where_it_arrived(running):
    vm, there = running
    observe.migrating(vm)
    vm.refresh_from_db()
    assert (vm.status, vm.host.name) == (VmStatus.MIGRATING_FROM, "node1")
    observe.migrated(vm, there)
    vm.refresh_from_db()
    assert (vm.status, vm.host.name) == (VmStatus.UP, "node2")


def test_a_selection_moves_each_to_the_host_that_is_best_for_it(running, root):
    vm, _there = running
    still = make_vm(cluster=vm.cluster, host=vm.host)
    results = vms.bulk(root, [vm, still], "migrate")
    assert [(result.vm, bool(result.job)) for result in results] == [(vm, True), (still, False)]
    assert "not running" in results[1].reason and results[0].job.params["target"] == ""


def test_the_page_of_migrations_shows_what_runs_and_what_ended_to_who_may_see_it(client, running, root):
    vm, other = running
    job = services.migrate(root, vm)
    seen = {"left": 5 << 20, "rate": 3 << 20, "downtime_ms": 120, "done": 7 << 20}
    Job.objects.filter(pk=job.pk).update(status="running", facts={"source": str(vm.host_id), "target": str(other.pk), "seen": seen})
    client.force_login(root)
    page = client.get("/migrations/").content.decode()
    assert all(words in page for words in (vm.name, other.name, "5 MiB", "3 MiB/s", "120 ms", f"/jobs/{job.pk}/cancel/"))
    done = {"elapsed_ms": 1234, "downtime_ms": 56, "done": 9 << 20}
    Job.objects.filter(pk=job.pk).update(status="succeeded", finished_at=timezone.now(), facts={"done": done})
    page = client.get("/migrations/").content.decode()
    assert all(words in page for words in ("1234 ms", "56 ms", "9 MiB")) and "No VM is on its way" in page
    client.force_login(make_user("stranger"))
    assert vm.name not in client.get("/migrations/").content.decode()
