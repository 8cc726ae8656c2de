"""Users, groups, roles and grants through the API: the same rules as on the pages."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Grant, Role
from accounts.permissions import effective
from accounts.tokens import create
from tests.build import make_user, make_vm

pytestmark = pytest.mark.django_db


class Caller:
    def __init__(self, client, user):
        self.client, self.headers = client, {"HTTP_AUTHORIZATION": f"Bearer {create(user, 'test')[1]}"}

    def __call__(self, method, path, body=None):
        send = getattr(self.client, method)
        return (
            send(f"/api/v1{path}", body or {}, content_type="application/json", **self.headers)
            if body
            else send(f"/api/v1{path}", **self.headers)
        )


@pytest.fixture
def root(client):
    return Caller(client, make_user("root", role="SuperUser"))


def test_lists_are_for_who_may_view_users_and_roles(client, root):
    eve = Caller(client, make_user("eve"))
    for path in ("/users", "/groups", "/roles", "/grants"):
        assert root("get", path).status_code == 200
        assert eve("get", path).status_code == 403
    assert [each["username"] for each in root("get", "/users?username=EVE").json()["items"]] == ["eve"]
    assert "password" not in root("get", "/users").content.decode()


def test_a_role_is_made_changed_and_removed(root):
    made = root("post", "/roles", {"name": "Starter", "permissions": ["vm.view", "vm.start"]})
    assert made.status_code == 201 and made.json()["permissions"] == ["vm.start", "vm.view"]
    path = f"/roles/{made.json()['id']}"
    assert root("patch", path, {"permissions": ["vm.view"]}).json()["permissions"] == ["vm.view"]
    assert root("patch", path, {"name": "SuperUser"}).status_code == 422
    assert root("patch", path, {"predefined": True}).status_code == 422
    assert root("delete", path).status_code == 204
    assert root("get", path).status_code == 404


def test_a_predefined_role_stays_as_it_is(root):
    pk = Role.objects.get(name="UserRole").pk
    assert root("patch", f"/roles/{pk}", {"permissions": ["vm.view"]}).status_code == 422
    assert root("delete", f"/roles/{pk}").status_code == 422


def test_a_grant_is_given_with_an_end_and_withdrawn(root):
    vm, eve = make_vm(), make_user("eve")
    end = (timezone.now() + timedelta(hours=1)).isoformat()
    body = {"role": "userrole", "user": "eve", "object_type": "vm", "object_id": str(vm.pk), "expires_at": end}
    given = root("post", "/grants", body)
    assert given.status_code == 201, given.content
    assert "vm.start" in effective(eve, vm)
    assert root("get", f"/grants?object_type=vm&object_id={vm.pk}").json()["count"] == 1
    assert root("delete", f"/grants/{given.json()['id']}").status_code == 204
    assert not effective(eve, vm)
    assert root("delete", f"/grants/{given.json()['id']}").status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"user": "who"},
        {"role": "what"},
        {"user": ""},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00"},
        {"object_type": "x"},
    ],
)
def test_a_bad_grant_says_what_is_wrong(root, change):
    make_user("eve")
    body = {"role": "UserRole", "user": "eve", "object_type": "vm", "object_id": str(make_vm().pk)} | change
    answer = root("post", "/grants", body)
    assert answer.status_code == 422 and answer.json()["errors"]
    assert not Grant.objects.filter(user__username="eve").exists()


def test_who_owns_one_vm_gives_on_that_vm_alone_and_no_more_than_they_hold(client):
    vm, other = make_vm(), make_vm(name="other")
    owner = Caller(client, make_user("owner", role="UserVmManager", on=vm))
    make_user("eve")
    body = {"role": "UserRole", "user": "eve", "object_type": "vm", "object_id": str(vm.pk)}
    assert owner("post", "/grants", body).status_code == 201
    assert owner("post", "/grants", body | {"object_id": str(other.pk)}).status_code == 404
    assert owner("post", "/grants", body | {"role": "SuperUser"}).status_code == 403
    assert owner("post", "/grants", body | {"object_type": "system", "object_id": None}).status_code == 403
    assert owner("post", "/grants", body | {"object_type": "cluster", "object_id": str(vm.cluster_id)}).status_code == 404
    assert Grant.objects.filter(user__username="eve").count() == 1


def test_the_last_super_user_stays(root):
    held = Grant.objects.get(role__name="SuperUser")
    assert root("delete", f"/grants/{held.pk}").status_code == 422
    assert Grant.objects.filter(pk=held.pk).exists()
