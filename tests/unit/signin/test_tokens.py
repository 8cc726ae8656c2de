"""API tokens narrow what their user may do, run out, and are all that a service account has."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from accounts import service_accounts, services, tokens
from accounts.models import Role, Token, User
from accounts.permissions import ALL_PERMISSIONS, anywhere, effective, grant
from events.models import Event
from tests.build import PASSWORD, make_user, make_vm

pytestmark = pytest.mark.django_db


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


def test_every_scope_leaves_only_what_its_user_holds():
    vm = make_vm()
    user = make_user(role="UserRole", on=vm)
    whole = effective(user, vm)
    for scope, (_, permissions) in tokens.SCOPES.items():
        _, text = tokens.create(user, scope, scope=scope)
        found = tokens.user_of(text)
        assert effective(found, vm) == (whole if permissions is None else whole & permissions)
        assert anywhere(found) == effective(found, vm)
        assert effective(found) == frozenset()
        assert permissions is None or permissions <= set(ALL_PERMISSIONS)
    assert effective(User.objects.get(pk=user.pk), vm) == whole


def test_a_token_to_read_reads_and_does_nothing_else(client):
    vm = make_vm()
    user = make_user(role="SuperUser")
    _, read = tokens.create(user, "r", scope="read")
    _, everything = tokens.create(user, "a")
    assert client.get(f"/api/v1/vms/{vm.pk}", headers=bearer(read)).status_code == 200
    assert client.post(f"/api/v1/vms/{vm.pk}/start", {}, content_type="application/json", headers=bearer(read)).status_code == 403
    assert client.delete(f"/api/v1/vms/{vm.pk}", headers=bearer(read)).status_code == 403
    assert client.post(f"/api/v1/vms/{vm.pk}/start", {}, content_type="application/json", headers=bearer(everything)).status_code in (
        202,
        409,
    )


def test_a_token_to_read_gives_no_grant():
    vm = make_vm()
    _, text = tokens.create(make_user(role="SuperUser"), "r", scope="read")
    with pytest.raises(PermissionDenied):
        services.give(tokens.user_of(text), Role.objects.get(name="UserRole"), "vm", vm, user=make_user())


def test_a_scope_that_this_version_does_not_know_lets_nothing_through():
    user = make_user(role="SuperUser")
    made, text = tokens.create(user, "x")
    Token.objects.filter(pk=made.pk).update(scope="later")
    assert effective(tokens.user_of(text)) == frozenset()
    with pytest.raises(KeyError):
        tokens.create(user, "x", scope="later")


def test_a_token_runs_out_and_says_when_it_was_used(client):
    user = make_user(role="ReadOnlyAdmin")
    made, text = tokens.create(user, "x", timezone.now() + timedelta(hours=1))
    assert client.get("/api/v1/vms", headers=bearer(text)).status_code == 200
    made.refresh_from_db()
    assert made.last_used_at is not None
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/vms", headers=bearer(text)).status_code == 401


def test_the_account_page_makes_tokens_of_a_scope(client):
    user = make_user(role="SuperUser")
    client.force_login(user)
    assert client.post("/me/tokens/new/", {"name": "x", "scope": "everything", "lifetime_days": "30"}).status_code == 422
    answer = client.post("/me/tokens/new/", {"name": "x", "scope": "operate", "lifetime_days": "30"})
    assert (answer.status_code, user.tokens.get().scope) == (200, "operate")
    assert "operate" in client.get("/tokens/").content.decode()


def test_a_service_account_signs_in_by_tokens_alone(client):
    admin = make_user("admin", role="SuperUser")
    client.force_login(admin)
    assert client.get("/service-accounts/new/").status_code == 200
    assert client.post("/service-accounts/new/", {"username": "backup", "full_name": "The backup"}).status_code == 302
    account = User.objects.get(username="backup")
    grant("ReadOnlyAdmin", user=account)
    page = client.post(f"/users/{account.pk}/tokens/new/", {"name": "t", "scope": "read", "lifetime_days": "365"})
    text = page.content.decode().split('id="token-text">')[1].split("<")[0]
    assert page["Cache-Control"] == "no-store"
    assert text not in client.get(f"/users/{account.pk}/").content.decode()
    assert client.get("/api/v1/vms", headers=bearer(text)).status_code == 200
    with pytest.raises(ValidationError, match="tokens alone"):
        services.set_password(admin, account, PASSWORD)
    account.set_password(PASSWORD)
    account.save()
    client.logout()
    assert client.post("/sign-in/", {"username": "backup", "password": PASSWORD}).status_code == 422
    assert not any(text in f"{event.message}{event.details}" for event in Event.objects.all())


def test_nobody_makes_a_token_of_who_holds_more():
    manager_role = Role.objects.create(name="UserManager")
    manager_role.permissions.create(permission="user.manage")
    manager, account = make_user("manager"), User.objects.create(username="robot", is_service=True)
    grant("UserManager", user=manager)
    service_accounts.new_token(manager, account, "fine", "all", None)
    grant("SuperUser", user=account)
    with pytest.raises(PermissionDenied, match="do not hold"):
        service_accounts.new_token(manager, account, "too much", "all", None)
    with pytest.raises(ValidationError, match="a person"):
        service_accounts.new_token(make_user(role="SuperUser"), manager, "x", "all", None)


def test_tokens_of_others_are_taken_away_by_administrators_alone(client):
    anna = make_user("anna")
    made, text = tokens.create(anna, "x")
    client.force_login(make_user(role="ReadOnlyAdmin"))
    assert client.post(f"/tokens/{made.pk}/delete/").status_code == 403
    client.force_login(make_user(role="SuperUser"))
    assert client.post(f"/tokens/{made.pk}/delete/").status_code == 302
    assert tokens.user_of(text) is None
