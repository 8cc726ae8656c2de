"""Own roles: who may make them, and that nobody rises by them."""

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.urls import reverse

from accounts import roles
from accounts.models import Role, RolePermission
from accounts.permissions import effective, grant
from tests.build import make_user

pytestmark = pytest.mark.django_db


def _keeper():
    """Somebody who manages roles and sees VMs, nothing else."""
    role = Role.objects.create(name="RoleKeeper")
    RolePermission.objects.bulk_create([RolePermission(role=role, permission=each) for each in ("role.view", "role.manage", "vm.view")])
    return make_user(role="RoleKeeper"), role


def test_an_own_role_is_made_and_changed():
    root = make_user(role="SuperUser")
    role = roles.save_role(root, Role(name=" Starter "), ["vm.start", "vm.view"])
    assert role.name == "Starter"
    roles.save_role(root, role, ["vm.view", "vm.stop"])
    assert set(role.permissions.values_list("permission", flat=True)) == {"vm.view", "vm.stop"}


def test_nobody_without_role_manage_makes_one():
    with pytest.raises(PermissionDenied):
        roles.save_role(make_user(role="ReadOnlyAdmin"), Role(name="Mine"), ["vm.view"])


def test_nobody_puts_in_what_they_do_not_hold_on_the_system():
    keeper, _ = _keeper()
    with pytest.raises(PermissionDenied, match=r"vm\.delete"):
        roles.save_role(keeper, Role(name="Mine"), ["vm.view", "vm.delete"])
    assert not Role.objects.filter(name="Mine").exists()


def test_the_editor_does_not_rise_by_their_own_role():
    keeper, own = _keeper()
    with pytest.raises(PermissionDenied):
        roles.save_role(keeper, own, ["role.view", "role.manage", "vm.view", "user.manage"])
    assert "user.manage" not in effective(keeper)


def test_what_the_editor_lacks_may_stay_and_go_but_not_come_back():
    make_user(role="SuperUser")
    keeper, _ = _keeper()
    role = roles.save_role(make_user(role="SuperUser"), Role(name="Runner"), ["vm.view", "vm.start"])
    roles.save_role(keeper, role, ["vm.start"])
    roles.save_role(keeper, role, ["vm.view"])
    with pytest.raises(PermissionDenied):
        roles.save_role(keeper, role, ["vm.start"])


def test_predefined_roles_stay_even_when_the_caller_says_otherwise():
    root, role = make_user(role="SuperUser"), Role.objects.get(name="UserRole")
    role.predefined = False
    with pytest.raises(ValidationError, match="predefined"):
        roles.save_role(root, role, ["vm.view"])
    with pytest.raises(ValidationError, match="predefined"):
        roles.delete_role(root, role)


def test_a_role_in_use_is_not_removed():
    root = make_user(role="SuperUser")
    role = roles.save_role(root, Role(name="Runner"), ["vm.view"])
    held = grant("Runner", user=make_user())
    with pytest.raises(ValidationError, match="in use: 1 grant gives"):
        roles.delete_role(root, role)
    held.delete()
    roles.delete_role(root, role)
    assert not Role.objects.filter(name="Runner").exists()


@pytest.mark.parametrize(("name", "permissions"), [("superuser", ["vm.view"]), ("x", []), ("x", ["vm.fly"]), ("", ["vm.view"])])
def test_what_is_no_role(name, permissions):
    with pytest.raises(ValidationError):
        roles.save_role(make_user(role="SuperUser"), Role(name=name), permissions)


def test_the_pages_copy_edit_and_remove(client):
    client.force_login(make_user(role="SuperUser"))
    page = client.get(reverse("accounts:new-role") + "?copy=UserRole").content.decode()
    assert 'value="vm.start" checked' in page and 'value="vm.delete" checked' not in page
    answer = client.post(reverse("accounts:new-role"), {"name": "<b>Mine", "permissions": ["vm.view"]})
    role = Role.objects.get(name="<b>Mine")
    assert answer.url == reverse("accounts:role", args=[role.pk])
    assert "<b>Mine" not in client.get(answer.url).content.decode()
    assert client.post(reverse("accounts:edit-role", args=[role.pk]), {"name": "Mine"}).status_code == 422
    client.post(reverse("accounts:delete-role", args=[role.pk]))
    assert not Role.objects.filter(pk=role.pk).exists()
