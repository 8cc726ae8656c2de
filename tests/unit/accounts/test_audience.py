"""Who sees an object, asked for many users at once: the same answers as for each of them alone."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from accounts.audience import holders, seers
from accounts.models import Group, User
from accounts.permissions import allowed, grant
from jobs.models import Job
from jobs.visible import seers_of_job, visible_jobs
from tests.build import make_cluster, make_disk, make_host, make_network, make_storage, make_template, make_user, make_vm

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(db):
    """Somebody for each way in which a grant reaches a VM, or fails to; the VM is the second value."""
    vm, other = make_vm(), make_vm()
    for place in (vm, vm.cluster, vm.cluster.data_center, None, other):
        make_user(role="UserRole", on=place)
    make_user(role="SuperUser")
    make_user()
    make_user(role="UserRole", on=vm, is_active=False)
    ended = make_user(role="UserRole", on=vm)
    ended.grants.update(expires_at=timezone.now() - timedelta(seconds=1))
    group, left = Group.objects.create(name="team"), Group.objects.create(name="former team")
    for each, until in ((group, None), (left, timezone.now() - timedelta(seconds=1))):
        each.members.add(make_user())
        given = grant("UserRole", vm, group=each)
        given.expires_at = until
        given.save()
    make_user(role="TemplateUser", on=None)
    return list(User.objects.all()), vm


def test_it_is_the_answer_for_each_user_alone(people):
    users, vm = people
    alone = {user.pk for user in users if type(vm).objects.visible_to(user).filter(pk=vm.pk).exists()}
    assert alone
    assert len(alone) < len(users)
    assert seers("vm", str(vm.pk), users) == alone
    for permission in ("vm.view", "vm.start", "vm.delete", "system.view"):
        for obj in (vm, None):
            assert holders(permission, obj, users) == {user.pk for user in users if allowed(user, permission, obj)}


@pytest.mark.parametrize("make", [make_cluster, make_disk, make_host, make_network, make_storage, make_template, make_vm])
def test_every_kind_of_object_is_reached_from_above(make):
    obj = make()
    inside, outside = make_user(role="SuperUser", on=getattr(obj, "data_center", None)), make_user()
    assert seers(obj.OBJECT_TYPE, str(obj.pk), [inside, outside]) == {inside.pk}


def test_nobody_sees_what_is_not_there_and_a_token_sees_what_it_is_for(people):
    users, vm = people
    assert seers("vm", str(uuid4()), users) == set()
    assert seers("vm", str(vm.pk), [AnonymousUser()]) == set()
    bearer = make_user(role="SuperUser")
    bearer.scope = frozenset({"disk.view"})
    assert seers("vm", str(vm.pk), [bearer]) == set()


def test_the_number_of_queries_is_not_that_of_the_users(people, django_assert_num_queries):
    users, vm = people
    with django_assert_num_queries(3):
        seers("vm", str(vm.pk), users)


def test_jobs_follow_their_own_rule(people):
    users, vm = people
    for owner in (None, users[6]):
        for object_id in (vm.pk, uuid4()):
            job = Job.objects.create(kind="vm.start", title="Run", object_type="vm", object_id=object_id, user=owner)
            alone = {user.pk for user in users if visible_jobs(user).filter(pk=job.pk).exists()}
            assert seers_of_job(str(job.pk), users) == alone
    assert seers_of_job(str(uuid4()), users) == set()
