"""Why somebody may do something: on the page, and through the API."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import Grant, Group
from accounts.permissions import effective, grant
from accounts.reasons import reasons
from accounts.tokens import create
from tests.build import make_user, make_vm

pytestmark = pytest.mark.django_db


def _page(client, vm, name):
    return client.get(reverse("accounts:object-grants", args=["vm", vm.pk]), {"user": name}).content.decode()


def _bearer(user):
    return {"HTTP_AUTHORIZATION": f"Bearer {create(user, 'test')[1]}"}


def test_reasons_are_what_is_effective_with_where_it_comes_from(django_assert_num_queries):
    vm, eve, staff = make_vm(), make_user("eve", role=None), Group.objects.create(name="Staff")
    staff.members.add(eve)
    own, above = grant("UserRole", vm, user=eve), grant("VmCreator", vm.cluster, group=staff)
    ended = grant("SuperUser", user=eve)
    Grant.objects.filter(pk=ended.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    with django_assert_num_queries(2):
        found = reasons(eve, vm)
    assert set(found) == effective(eve, vm)
    assert found["vm.start"] == [own] and found["vm.create"] == [above]


def test_who_is_not_active_may_nothing():
    eve = make_user("eve", role="SuperUser")
    eve.is_active = False
    assert reasons(eve, make_vm()) == {}


def test_the_page_explains(client):
    vm, eve, staff = make_vm(), make_user("eve"), Group.objects.create(name="<b>Staff</b>")
    staff.members.add(eve)
    grant("UserRole", vm.cluster, group=staff)
    client.force_login(make_user("root", role="SuperUser"))
    page = _page(client, vm, "EVE")
    assert "eve may" in page and "vm.start" in page and f'href="{vm.cluster.get_absolute_url()}"' in page
    assert "through group" in page and "&lt;b&gt;Staff&lt;/b&gt;" in page and "<b>Staff</b>" not in page
    assert "vm.delete" in page.split("Not: ")[1]
    assert "There is no user named nobody" in _page(client, vm, "nobody")
    make_user("idle")
    assert "may do nothing here" in _page(client, vm, "idle")


def test_names_of_users_are_not_offered_to_who_only_shares_a_vm(client):
    vm = make_vm()
    make_user("somebody-else")
    client.force_login(make_user("owner", role="UserVmManager", on=vm))
    assert "somebody-else" not in client.get(reverse("accounts:object-grants", args=["vm", vm.pk])).content.decode()


def test_the_api_says_it_of_oneself_and_of_others_with_grant_view(client):
    vm = make_vm()
    eve, root = make_user("eve", role="UserRole", on=vm), make_user("root", role="SuperUser")
    url = f"/api/v1/permissions/vm/{vm.pk}"
    mine = client.get(url, **_bearer(eve)).json()
    assert {each["permission"] for each in mine} == effective(eve, vm)
    assert mine[0]["because"][0]["role"]["name"] == "UserRole"
    assert client.get(url, {"user": "root"}, **_bearer(eve)).status_code == 403
    assert client.get(url, {"user": "eve"}, **_bearer(root)).json() == mine
    assert client.get(url, {"user": "who"}, **_bearer(root)).status_code == 422
    assert client.get(f"/api/v1/permissions/vm/{make_vm(name='other').pk}", **_bearer(eve)).status_code == 404
    assert client.get(f"/api/v1/permissions/nonsense/{vm.pk}", **_bearer(root)).status_code == 422
