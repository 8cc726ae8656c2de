"""Nobody rises: by roles, groups, accounts of programs, tokens, or by who they shut out. And signing in tells and leaves nothing."""

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.exceptions import PermissionDenied
from django.test import Client

from accounts import roles, service_accounts, services, tokens
from accounts.directory.models import IdentityProvider
from accounts.models import Grant, Group, Role
from accounts.permissions import allowed, effective, grant
from tests.build import PASSWORD, make_user, make_vm

pytestmark = pytest.mark.django_db


@pytest.fixture
def root():
    return make_user("root", role="SuperUser")


@pytest.fixture
def helpdesk(root):
    """Manages users, roles and grants, and nothing else."""
    role = Role(name="Helpdesk")
    roles.save_role(root, role, {"user.view", "user.manage", "role.view", "role.manage", "grant.view", "grant.manage"})
    return make_user("helpdesk", role="Helpdesk")


def test_who_manages_users_does_not_shut_out_who_holds_more(helpdesk, root):
    spare = make_user("spare", role="SuperUser")
    for verb in (lambda: services.set_active(helpdesk, spare, False), lambda: services.delete_user(helpdesk, spare),
                 lambda: services.set_password(helpdesk, spare, PASSWORD * 2)):  # fmt: skip
        with pytest.raises(PermissionDenied, match="do not hold"):
            verb()
    spare.refresh_from_db()
    assert spare.is_active and spare.check_password(PASSWORD)
    plain = make_user("plain")
    services.set_active(helpdesk, plain, False)
    services.delete_user(helpdesk, plain)


def test_the_pages_refuse_it_too(client, helpdesk, root):
    spare = make_user("spare", role="SuperUser")
    team = Group.objects.create(name="admins")
    grant("SuperUser", group=team)
    client.force_login(helpdesk)
    assert client.post(f"/users/{spare.pk}/active/", {"active": "0"}).status_code == 403
    assert client.post(f"/users/{spare.pk}/delete/").status_code == 403
    assert client.post(f"/groups/{team.pk}/delete/").status_code == 403
    assert client.post(f"/groups/{team.pk}/", {"name": "admins", "members": [str(helpdesk.pk)]}).status_code == 403
    assert client.post(f"/users/{spare.pk}/factors/reset/").status_code == 403
    assert client.post(f"/users/{spare.pk}/look/").status_code in (302, 403)
    assert client.get("/me/").context["user"] == helpdesk
    assert team.members.count() == 0
    spare.refresh_from_db()
    assert spare.is_active


def test_no_role_group_grant_or_program_gives_what_one_lacks(helpdesk, root):
    before = effective(helpdesk)
    vm = make_vm()
    own = Role(name="Own")
    with pytest.raises(PermissionDenied):
        roles.save_role(helpdesk, own, {"user.view", "vm.delete"})
    held = Role.objects.get(name="Helpdesk")
    with pytest.raises(PermissionDenied):
        roles.save_role(helpdesk, held, {"user.manage", "role.manage", "system.view"})
    for name in ("SuperUser", "UserRole", "DataCenterAdmin"):
        for kind, obj in (("system", None), ("vm", vm)):
            with pytest.raises(PermissionDenied):
                services.give(helpdesk, Role.objects.get(name=name), kind, obj, user=helpdesk)
    team = Group.objects.create(name="team")
    grant("UserVmManager", vm, group=team)
    with pytest.raises(PermissionDenied):
        services.save_group(helpdesk, team, [helpdesk])
    program = service_accounts.create(root, "program")
    grant("UserRole", vm, user=program)
    with pytest.raises(PermissionDenied):
        service_accounts.new_token(helpdesk, program, "t", "all", None)
    assert effective(helpdesk) == before
    assert not allowed(helpdesk, "vm.view", vm)


def test_a_narrow_token_makes_no_wider_right(helpdesk, root):
    """By the services too: what a page would offer is not asked."""
    for scope in ("read", "operate", "manage"):
        _token, text = tokens.create(root, scope, scope=scope)
        bearer = tokens.user_of(text)
        assert not {"grant.manage", "role.manage", "user.manage"} & effective(bearer)
        for verb in (lambda user=bearer: services.give(user, Role.objects.get(name="SuperUser"), "system", None, user=helpdesk),
                     lambda user=bearer: roles.save_role(user, Role(name="x"), {"vm.view"}),
                     lambda user=bearer: services.create_user(user, "x", PASSWORD),
                     lambda user=bearer: service_accounts.create(user, "x"),
                     lambda user=bearer: services.save_group(user, Group(name="x"), [])):  # fmt: skip
            with pytest.raises(PermissionDenied):
                verb()


def test_a_token_opens_no_page_and_no_account(client, root):
    _token, text = tokens.create(root, "t")
    headers = {"Authorization": f"Bearer {text}"}
    for path in ("/", "/me/", "/users/", "/sessions/"):
        assert client.get(path, headers=headers).headers["Location"].startswith("/sign-in/"), path
    before = Grant.objects.count()
    assert client.post("/me/tokens/new/", {"name": "more", "scope": "all"}, headers=headers).status_code == 302
    assert (root.tokens.count(), Grant.objects.count()) == (1, before)


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer \0", "Bearer vireo_", "Basic cm9vdDp4", "Bearer " + "x" * 5000, "bearer null"]
)
def test_what_is_no_token_opens_nothing(client, root, value):
    assert client.get("/api/v1/vms", headers={"Authorization": value}).status_code == 401


def _hashes(monkeypatch, **fields):
    """How often a password is hashed for one attempt to sign in."""
    count = []
    encode = PBKDF2PasswordHasher.encode

    def counting(self, *arguments, **options):
        count.append(1)
        return encode(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "encode", counting)
        assert Client().post("/sign-in/", {"password": "wrong password", **fields}).status_code == 422
    return len(count)


def test_an_unknown_user_costs_as_many_hashes_as_a_known_one(monkeypatch, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    settings.AUTHENTICATION_BACKENDS = ["accounts.backends.LocalBackend"]
    make_user("known")
    make_user("inactive", is_active=False)
    of_a_directory = make_user("brought", source=IdentityProvider.objects.create(kind="ldap", name="d", enabled=False), external_id="x")
    program = make_user("program", is_service=True)
    for user in (of_a_directory, program):
        user.set_unusable_password()
        user.save()
    known = _hashes(monkeypatch, username="known")
    assert known >= 1
    for name in ("nobody-has-this-name", "inactive", "brought", "program"):
        assert _hashes(monkeypatch, username=name) == known, name


def test_the_whole_chain_of_backends_costs_the_same_too(monkeypatch, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    make_user("known")
    assert _hashes(monkeypatch, username="known") == _hashes(monkeypatch, username="nobody-has-this-name")


def test_the_key_of_a_session_changes_at_every_step_of_signing_in_and_out(client, root):
    session = client.session
    session["planted"] = "1"
    session.save()
    client.cookies["vireo_session"] = session.session_key
    keys = [session.session_key]
    client.post("/sign-in/", {"username": "root", "password": PASSWORD})
    keys.append(client.cookies["vireo_session"].value)
    assert "planted" not in client.session
    signed_in = keys[-1]
    client.post("/sign-out/")
    client.post("/sign-in/", {"username": "root", "password": PASSWORD})
    keys.append(client.cookies["vireo_session"].value)
    assert len(set(keys)) == len(keys)
    thief = Client()
    thief.cookies["vireo_session"] = signed_in
    assert thief.get("/me/").status_code == 302


def test_a_session_key_of_the_attackers_own_making_is_not_taken(client, root):
    client.cookies["vireo_session"] = "a" * 32
    client.post("/sign-in/", {"username": "root", "password": PASSWORD})
    assert client.cookies["vireo_session"].value != "a" * 32
    cookie = client.cookies["vireo_session"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
