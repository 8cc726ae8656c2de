"""What quotas allow and refuse: when a VM is made, started, changed, moved to another quota."""

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from accounts.models import Group
from accounts.quotas import services as quotas
from accounts.quotas.models import Quota, Resource
from accounts.quotas.shares import held_by
from accounts.quotas.usage import used
from events.models import Event
from hosts.models import QuotaMode
from jobs.models import Job, Lock
from portal.errors import FieldError, NotPossible
from tests.build import make_cluster, make_storage, make_user, make_vm
from vms import services
from vms.models import VM, VmStatus

pytestmark = pytest.mark.django_db


def made(site, name="web-01", status=VmStatus.DOWN, **fields):
    """A VM whose job has ended."""
    vm, job = services.create(site.eve, site.new(name, **fields))
    Lock.objects.filter(job=job).delete()
    Job.objects.filter(pk=job.pk).update(status="succeeded")
    VM.objects.filter(pk=vm.pk).update(status=status)
    vm.refresh_from_db()
    return vm


def refused(site, **fields):
    vms, jobs = VM.objects.count(), Job.objects.count()
    with pytest.raises(FieldError) as error:
        services.create(site.eve, site.new(**fields))
    assert (VM.objects.count(), Job.objects.count()) == (vms, jobs)
    return error.value


def test_without_a_quota_nothing_is_made_where_they_are_enforced(site):
    error = refused(site)
    assert error.field == "quota" and "you have none" in error.text
    site.set_mode(QuotaMode.OFF)
    assert made(site).quota is None


@pytest.mark.parametrize(
    ("limit", "fields", "field", "words"),
    [
        ({"vms": 0}, {}, "quota", "allows 0 VMs; 0 are used."),
        ({"vcpus": 3}, {"vcpus": 4, "start": True}, "vcpus", "this VM needs 4"),
        ({"memory_mib": 1024}, {"memory_mib": 2048, "start": True}, "memory_mib", "allows 1 GiB of memory"),
        ({"storage_bytes": 2**29}, {}, "template", "this VM needs 1 GiB"),
    ],
)
def test_what_is_more_than_the_limit_is_refused_at_its_field(site, limit, fields, field, words):
    site.quota(**limit)
    error = refused(site, **fields)
    assert error.field == field and words in error.text and "Quota small" in error.text


def test_a_vm_that_is_down_takes_no_memory_until_it_is_started(site):
    quota = site.quota(memory_mib=512, vcpus=1)
    first, second = made(site, "a"), made(site, "b")
    assert used(quota, Resource.MEMORY) == 0 and used(quota, Resource.VMS) == 2
    services.act(site.eve, first, "start")
    assert used(quota, Resource.MEMORY) == 512
    with pytest.raises(NotPossible, match="512 MiB are used and this VM needs 512 MiB"):
        services.act(site.eve, second, "start")
    assert not Lock.objects.filter(object_id=second.pk).exists()


def test_disks_count_until_they_are_gone(site):
    quota = site.quota(storage_bytes=1 << 30)
    vm = made(site)
    assert used(quota, Resource.STORAGE) == 1 << 30
    with pytest.raises(FieldError, match="1 GiB are used"):
        services.create(site.eve, site.new("b"))
    vm.attachments.all().delete()
    quota.disks.all().delete()
    made(site, "b")


def test_grace_lets_above_the_limit_and_warns(site):
    quota = site.quota(vms=4)
    Quota.objects.filter(pk=quota.pk).update(compute_grace=25, compute_threshold=50)
    for number in range(5):
        made(site, f"vm{number}")
    with pytest.raises(FieldError, match="and 25 % more for a while"):
        services.create(site.eve, site.new())
    said = [event.message for event in Event.objects.filter(kind="quota.threshold").order_by("pk")]
    assert len(said) == 2 and "over 50 %" in said[0] and "over its limit" in said[1]


def test_audit_lets_through_and_says_so(site):
    site.quota(vms=0)
    site.set_mode(QuotaMode.AUDIT)
    made(site)
    assert "Allowed above its quota" in Event.objects.get(kind="quota.exceeded").message
    other = make_user("other", role="SuperUser")
    services.create(other, site.new("b"))
    assert Event.objects.filter(kind="quota.missing").exists()


def test_off_counts_and_refuses_nothing(site):
    quota = site.quota(vms=0)
    site.set_mode(QuotaMode.OFF)
    made(site)
    assert used(quota, Resource.VMS) == 1
    assert not Event.objects.filter(kind__startswith="quota.ex").exists() and held_by(site.eve) == []


def test_a_limit_of_a_cluster_or_storage_domain_narrows(site):
    other = make_cluster(name="Other", data_center=site.data_center)
    places = {(Resource.VMS, site.cluster.pk): 0, (Resource.STORAGE, site.storage.pk): 1 << 30}
    site.quota(vms=5, places=places)
    assert "in cluster Default" in refused(site).text
    made(site, "elsewhere", cluster=other)
    with pytest.raises(FieldError, match="in storage domain shared"):
        services.create(site.eve, site.new("b", cluster=other))


def test_a_quota_of_a_group_is_its_members(site):
    staff = Group.objects.create(name="Staff")
    quota = site.quota(holder=make_user("somebody"))
    refused(site)
    quotas.add_holder(site.root, quota, group=staff)
    staff.members.add(site.eve)
    assert made(site).quota == quota


def test_of_several_one_is_chosen_and_never_anothers(site):
    first, second = site.quota(name="first"), site.quota(name="second")
    assert "choose one" in refused(site).text
    assert made(site, quota=second).quota == second
    theirs = site.quota(name="theirs", holder=make_user("somebody"))
    error = refused(site, name="b", quota=theirs)
    assert error.field == "quota" and "may use" in error.text
    assert first.vms.count() == 0 and theirs.vms.count() == 0


def test_a_running_vm_grows_as_far_as_its_quota_goes(site):
    site.quota(memory_mib=1024)
    vm = made(site, status=VmStatus.UP)
    with pytest.raises(FieldError) as error:
        services.edit(site.eve, vm, {"memory_mib": 2048})
    assert error.value.field == "memory_mib" and "this change needs 1.5 GiB" in error.value.text
    services.edit(site.eve, vm, {"memory_mib": 1024})
    vm.refresh_from_db()
    assert vm.next_run == {"memory_mib": 1024}
    other = made(site, "b")
    with pytest.raises(NotPossible):  # what waits for the next run is taken already
        services.act(site.eve, other, "start")


def test_a_vm_moves_to_another_quota_with_its_disks(site):
    small, large = site.quota(name="small", vms=1), site.quota(name="large", vms=1, storage_bytes=1 << 29)
    vm = made(site, quota=small)
    with pytest.raises(FieldError):
        services.edit(site.eve, vm, {"quota": large})
    quotas.save(site.root, large, {(Resource.STORAGE, None): 1 << 30})
    services.edit(site.eve, vm, {"quota": large})
    assert (small.vms.count(), small.disks.count(), large.vms.count(), large.disks.count()) == (0, 0, 1, 1)
    with pytest.raises(FieldError, match="enforces"):
        services.edit(site.eve, vm, {"quota": None})


def test_who_has_no_quota_there_starts_nothing(site):
    vm = make_vm(cluster=site.cluster, host=site.cluster.hosts.get(), owner=site.eve)
    with pytest.raises(NotPossible, match="has no quota"):
        services.act(site.root, vm, "start")


def test_only_who_manages_quotas_makes_and_changes_them(site):
    quota = site.quota(vms=1)
    for verb in (
        lambda: quotas.save(site.eve, Quota(name="mine", data_center=site.data_center), {}),
        lambda: quotas.save(site.eve, quota, {}),
        lambda: quotas.add_holder(site.eve, quota, user=site.eve),
        lambda: quotas.remove_holder(site.eve, quota.holders.get()),
        lambda: quotas.remove(site.eve, quota),
        lambda: quotas.set_mode(site.eve, site.data_center, "off"),
    ):
        with pytest.raises(PermissionDenied):
            verb()
    assert quota.limits.count() == 1 and quota.holders.count() == 1


def test_bad_limits_are_refused(site):
    quota = site.quota()
    elsewhere = make_storage(name="elsewhere")
    with pytest.raises(FieldError, match="no place"):
        quotas.save(site.root, quota, {(Resource.STORAGE, elsewhere.pk): 1})
    with pytest.raises(FieldError, match="not an amount"):
        quotas.save(site.root, quota, {(Resource.VMS, None): -1})
    with pytest.raises(FieldError, match="has a quota named SMALL"):
        quotas.save(site.root, Quota(name="SMALL", data_center=site.data_center), {})
    with pytest.raises(ValidationError):
        quotas.add_holder(site.root, quota)


def test_a_quota_in_use_stays(site):
    quota = site.quota()
    made(site)
    with pytest.raises(NotPossible, match="1 VMs and 1 disks"):
        quotas.remove(site.root, quota)
    quotas.remove(site.root, site.quota(name="unused"))
