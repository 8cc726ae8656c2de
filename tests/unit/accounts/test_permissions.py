"""Who may do what where."""

import pytest

from accounts import permissions
from accounts.models import Group
from tests.build import make_cluster, make_user, make_vm
from vms.models import VM

pytestmark = pytest.mark.django_db


def test_grant_on_a_data_center_reaches_the_vms_below_it_and_no_other():
    inside, outside = make_vm(), make_vm()
    user = make_user(role="DataCenterAdmin", on=inside.cluster.data_center)
    assert permissions.allowed(user, "vm.start", inside)
    assert not permissions.allowed(user, "vm.start", outside)
    assert list(VM.objects.visible_to(user)) == [inside]


def test_grant_through_a_group_counts():
    vm = make_vm()
    user = make_user()
    team = Group.objects.create(name="team")
    team.members.add(user)
    permissions.grant("UserRole", vm, group=team)
    assert permissions.allowed(user, "vm.console", vm)
    assert not permissions.allowed(user, "vm.delete", vm)


def test_user_without_grants_sees_nothing():
    make_vm()
    assert not VM.objects.visible_to(make_user()).exists()


def test_inactive_user_holds_nothing_whatever_was_granted():
    vm = make_vm()
    user = make_user(role="SuperUser", is_active=False)
    assert not permissions.allowed(user, "vm.view", vm)
    assert not VM.objects.visible_to(user).exists()


def test_visible_rows_cost_one_query_however_many_grants(django_assert_num_queries):
    cluster = make_cluster()
    vms = [make_vm(cluster=cluster) for _ in range(20)]
    user = make_user()
    for vm in vms:
        permissions.grant("UserRole", vm, user=user)
    with django_assert_num_queries(1):
        assert len(VM.objects.visible_to(user)) == 20


def test_effective_permissions_are_those_of_the_roles_above():
    vm = make_vm()
    user = make_user(role="UserRole", on=vm)
    assert permissions.effective(user, vm) == permissions.PREDEFINED_ROLES["UserRole"][1]
    assert permissions.effective(user) == frozenset()
