"""The columns of a list that a user chose: remembered per list and user, and never the name."""

import pytest
from django.urls import reverse

from tests.build import make_user, make_vm


@pytest.fixture
def admin(client, db):
    user = make_user(role="SuperUser")
    client.force_login(user)
    return user


def choose(client, shown, known=("status", "host", "memory"), **fields):
    data = {"list": "virtual-machines", "known": known, "shown": shown, "next": "/vms/?q=web"} | fields
    return client.post(reverse("accounts:columns"), data)


def test_hidden_columns_stay_hidden_for_this_user_alone(client, admin):
    make_vm(name="web-01")
    page = client.get("/vms/").context["page"]
    answer = choose(client, ["status", "memory"], list=page.key)
    assert (answer.status_code, answer.url) == (302, "/vms/?q=web")
    found = client.get("/vms/")
    assert {column.name for column, shown in found.context["columns"] if not shown} == {"host"}
    assert 'data-hidden="4"' in found.content.decode()  # the box, the name, the status, then the host
    client.force_login(make_user("other", role="SuperUser"))
    assert "data-hidden" not in client.get("/vms/").content.decode()


def test_the_name_is_always_shown(client, admin):
    make_vm(name="web-01")
    first = client.get("/vms/").context["page"]
    choose(client, [], known=["name"], list=first.key)
    assert "data-hidden" not in client.get("/vms/").content.decode()


@pytest.mark.parametrize("fields", [{"list": "no slug!"}, {"known": ["x" * 300]}])
def test_what_is_no_list_or_column_is_refused(client, admin, fields):
    assert choose(client, [], **fields).status_code == 422


def test_it_leads_to_no_other_site(client, admin):
    assert choose(client, [], next="https://evil.example/").url == "/"
