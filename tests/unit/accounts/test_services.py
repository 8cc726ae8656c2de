"""Nobody grants more than they hold, the last SuperUser stays, and signing in tells an attacker nothing."""

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client

from accounts import services
from accounts.models import Grant, Group, Role
from accounts.permissions import allowed, grant
from tests.build import PASSWORD, make_user, make_vm

pytestmark = pytest.mark.django_db


def role(name):
    return Role.objects.get(name=name)


def test_nobody_grants_more_than_they_hold():
    vm = make_vm()
    manager, friend = make_user(role="UserVmManager", on=vm), make_user()
    services.give(manager, role("UserRole"), "vm", vm, user=friend)
    assert allowed(friend, "vm.start", vm)
    with pytest.raises(PermissionDenied, match="do not hold"):
        services.give(manager, role("SuperUser"), "vm", vm, user=friend)
    with pytest.raises(PermissionDenied):
        services.give(manager, role("UserRole"), "vm", make_vm(), user=friend)
    with pytest.raises(PermissionDenied):
        services.give(friend, role("UserRole"), "vm", vm, user=friend)


def test_the_last_super_user_cannot_be_lost_by_any_way():
    only = make_user(role="SuperUser")
    with pytest.raises(ValidationError, match="no active SuperUser"):
        services.withdraw(only, Grant.objects.get())
    with pytest.raises(ValidationError, match="no active SuperUser"):
        services.set_active(only, only, False)
    only.refresh_from_db()
    with pytest.raises(ValidationError, match="cannot remove yourself"):
        services.delete_user(only, only)
    only.refresh_from_db()
    assert only.is_active
    assert Grant.objects.count() == 1


def test_the_last_super_user_of_a_group_stays_in_it():
    member = make_user()
    team = Group.objects.create(name="admins")
    team.members.add(member)
    grant("SuperUser", group=team)
    with pytest.raises(ValidationError, match="no active SuperUser"):
        services.save_group(member, team, [])
    assert list(team.members.all()) == [member]


def test_user_names_are_one_whatever_their_case():
    admin = make_user(role="SuperUser")
    services.create_user(admin, "Alice", PASSWORD)
    with pytest.raises(ValidationError, match="exists already"):
        services.create_user(admin, "ALICE", PASSWORD)


def test_a_wrong_password_and_an_unknown_name_answer_alike(client):
    make_user("known")
    answers = [client.post("/sign-in/", {"username": name, "password": "wrong"}) for name in ("known", "unknown")]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert all("do not match" in answer.content.decode() for answer in answers)


def test_guessing_is_slowed_down_for_that_name_alone(client):
    make_user("guessed"), make_user("other")
    for _ in range(8):
        client.post("/sign-in/", {"username": "guessed", "password": "wrong"})
    assert client.post("/sign-in/", {"username": "guessed", "password": PASSWORD}).status_code == 429
    assert client.post("/sign-in/", {"username": "other", "password": PASSWORD}).status_code == 302


def test_signing_in_makes_a_new_session_and_leads_nowhere_foreign(client):
    make_user("anna")
    client.get("/sign-in/")
    before = client.session.session_key
    answer = client.post("/sign-in/", {"username": "anna", "password": PASSWORD, "next": "https://evil.example/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert client.session.session_key != before


def test_a_form_without_its_token_is_refused():
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user(role="SuperUser"))
    vm = make_vm()
    assert strict.post(f"/vms/{vm.pk}/action/start/").status_code == 403
    assert strict.post(f"/api/v1/vms/{vm.pk}/start").status_code in (401, 403)
