"""Signing in by a directory: who is made, which groups they are in, and what happens when the directory is away."""

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from accounts import services as people
from accounts.directory import services
from accounts.directory.models import IdentityProvider
from accounts.models import Group, Role, User
from accounts.permissions import allowed, grant
from events.models import Event
from tests.build import PASSWORD, make_user, make_vm
from tests.slapd import ADMIN_PASSWORD, BASE, PASSWORDS
from tests.unit.signin.conftest import ldap_settings

pytestmark = pytest.mark.django_db

STAFF, DEVELOPERS, SALES = (f"cn={name},ou=groups,{BASE}" for name in ("staff", "developers", "sales"))


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


def sign_in(client, username, password="", **more):
    return client.post("/sign-in/", {"username": username, "password": password or PASSWORDS[username], **more})


def test_the_first_sign_in_makes_the_user_and_the_groups_follow(client, provider, admin):
    vm = make_vm()
    staff, sales, local = (Group.objects.create(name=name) for name in ("Staff", "Sales", "Local"))
    grant("UserRole", vm, group=staff)
    services.map_group(admin, provider, STAFF.upper(), staff)
    services.map_group(admin, provider, SALES, sales)
    assert sign_in(client, "alice").status_code == 302
    alice = User.objects.get(username="alice")
    assert (alice.source, alice.full_name, alice.email, alice.has_usable_password()) == (
        provider,
        "Alice Example",
        "alice@example.org",
        False,
    )
    assert set(alice.member_of.all()) == {staff}
    assert allowed(alice, "vm.start", vm)
    # Later the directory says otherwise; what no mapping names stays.
    alice.member_of.set([sales, local])
    client.logout()
    sign_in(client, "ALICE", PASSWORDS["alice"])
    assert set(alice.member_of.all()) == {staff, local}
    assert User.objects.filter(username__iexact="alice").count() == 1
    assert Event.objects.filter(kind="group.left", object_id=sales.pk).exists()


def test_a_wrong_an_empty_and_an_unknown_answer_alike(client, provider):
    make_user("local")
    answers = [sign_in(client, name, "wrong") for name in ("alice", "local", "nobody")]
    assert {answer.status_code for answer in answers} == {422}
    assert all("do not match" in answer.content.decode() for answer in answers)
    assert sign_in(client, "alice", " ").status_code == 422
    assert not User.objects.filter(username="alice").exists()


def test_a_local_user_is_not_taken_over_by_a_name_of_the_directory(client, provider):
    root = make_user("root", role="SuperUser")
    assert sign_in(client, "root").status_code == 422
    assert "_auth_user_id" not in client.session
    root.refresh_from_db()
    assert root.source is None
    assert sign_in(client, "root", PASSWORD).status_code == 302


def test_a_server_that_is_down_is_said_and_local_users_still_sign_in(client, slapd, provider):
    make_user("local")
    slapd.stop()
    answer = sign_in(client, "alice")
    assert (answer.status_code, "does not answer" in answer.content.decode()) == (422, True)
    assert sign_in(client, "local", PASSWORD).status_code == 302


def test_whom_an_administrator_deactivated_stays_out(client, provider, admin):
    sign_in(client, "alice")
    client.logout()
    people.set_active(admin, User.objects.get(username="alice"), False)
    assert sign_in(client, "alice").status_code == 422


def test_a_provider_that_is_off_lets_nobody_in(client, provider):
    IdentityProvider.objects.update(enabled=False)
    assert sign_in(client, "alice").status_code == 422


def test_a_directory_users_password_is_not_kept_here(client, provider, admin):
    sign_in(client, "alice")
    with pytest.raises(ValidationError, match="kept by Example"):
        people.set_password(admin, User.objects.get(username="alice"), PASSWORD)
    assert "kept by Example" in client.get("/me/").content.decode()


def test_the_last_super_user_stays_one_whatever_the_directory_says(client, provider):
    admins = Group.objects.create(name="Admins")
    grant("SuperUser", group=admins)
    provider.mappings.create(directory_group=DEVELOPERS, group=admins)
    sign_in(client, "alice")
    provider.mappings.update(directory_group=SALES)
    client.logout()
    sign_in(client, "alice")
    assert admins.members.filter(username="alice").exists()
    assert Event.objects.filter(kind="group.kept").exists()


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "http:///evil.example", "\t//evil.example"],
)
def test_signing_in_leads_nowhere_foreign(client, provider, target):
    assert sign_in(client, "alice", next=target).headers["Location"] == "/"


# Who may decide whom the directory brings


@pytest.fixture
def manager():
    """Manages users, and holds nothing else."""
    role = Role.objects.create(name="UserManager")
    for permission in ("user.view", "user.manage"):
        role.permissions.create(permission=permission)
    user = make_user("manager")
    grant("UserManager", user=user)
    return user


def test_nobody_leads_people_into_a_group_that_holds_more_than_they_do(client, provider, admin, manager):
    vm, admins, runners = make_vm(), Group.objects.create(name="Admins"), Group.objects.create(name="Runners")
    grant("SuperUser", group=admins)
    grant("UserRole", vm, group=runners)
    for group in (admins, runners):
        with pytest.raises(PermissionDenied, match="do not hold"):
            services.map_group(manager, provider, STAFF, group)
    client.force_login(manager)
    assert client.post(f"/providers/{provider.pk}/groups/new/", {"directory_group": STAFF, "group": admins.pk}).status_code == 403
    assert not provider.mappings.exists()
    mapping = services.map_group(admin, provider, STAFF, admins)
    assert client.post(f"/group-mappings/{mapping.pk}/delete/").status_code == 403
    # Whose server it is decides who comes: so that is as far out of reach.
    with pytest.raises(PermissionDenied, match="by which others sign in"):
        services.save_provider(manager, provider, name="x", enabled=True, settings=provider.settings, secret="mine")


def test_nobody_becomes_a_user_of_the_directory_by_changing_it(client, provider, manager):
    sign_in(client, "alice")
    grant("SuperUser", user=User.objects.get(username="alice"))
    with pytest.raises(PermissionDenied):
        services.save_provider(manager, provider, name="x", enabled=True, settings={}, secret="mine")


def test_the_stored_password_does_not_follow_to_another_server(provider, admin, slapd):
    with pytest.raises(ValidationError, match="sent elsewhere"):
        services.save_provider(
            admin, provider, name="x", enabled=True, settings=ldap_settings(slapd, urls=["ldap://mine.example"]), secret=""
        )


def test_a_mapping_that_is_removed_takes_out_whom_it_brought(client, provider, admin):
    staff, local = Group.objects.create(name="Staff"), make_user("local")
    staff.members.add(local)
    mapping = services.map_group(admin, provider, STAFF, staff)
    sign_in(client, "alice")
    assert staff.members.count() == 2
    services.unmap_group(admin, mapping)
    assert list(staff.members.all()) == [local]


def test_a_provider_with_users_is_not_removed(client, provider, admin):
    sign_in(client, "alice")
    with pytest.raises(ValidationError, match="Switch it off"):
        services.remove_provider(admin, provider)


# The pages


def form_data(slapd, **changes):
    settings = ldap_settings(slapd)
    return {**settings, "urls": slapd.url, "name": "Mine", "enabled": "on", "secret": ADMIN_PASSWORD} | changes


def test_the_pages_set_up_show_and_test_a_provider(client, admin, slapd):
    client.force_login(admin)
    assert client.get("/providers/").status_code == client.get("/providers/new/").status_code == 200
    answer = client.post("/providers/new/", form_data(slapd), follow=True)
    assert answer.status_code == 200, answer.content.decode()
    made = IdentityProvider.objects.get()
    assert made.secret == ADMIN_PASSWORD
    assert ADMIN_PASSWORD not in made.encrypted_secret
    services.map_group(admin, made, STAFF, Group.objects.create(name="Staff"))
    page = client.post(f"/providers/{made.pk}/test/", {"username": "alice", "password": PASSWORDS["alice"]}).content.decode()
    assert "accepted the password" in page and "Alice Example" in page and "engineering" in page and ">Staff</a>" in page
    assert PASSWORDS["alice"].replace("'", "&#x27;") not in page
    assert "refused this password" in client.post(f"/providers/{made.pk}/test/", {"username": "alice", "password": "w"}).content.decode()
    assert "finds nobody" in client.post(f"/providers/{made.pk}/test/", {"username": "ghost"}).content.decode()
    assert not User.objects.filter(username="alice").exists()
    edit = client.get(f"/providers/{made.pk}/edit/").content.decode()
    assert ADMIN_PASSWORD.replace("'", "&#x27;") not in edit
    assert client.post(f"/providers/{made.pk}/edit/", form_data(slapd, secret="", name="Ours")).status_code == 302
    made.refresh_from_db()
    assert (made.name, made.secret) == ("Ours", ADMIN_PASSWORD)
    slapd.stop()
    assert "does not answer" in client.post(f"/providers/{made.pk}/test/", {"username": "alice"}).content.decode()
    assert not any(ADMIN_PASSWORD in f"{event.message}{event.details}" for event in Event.objects.all())


@pytest.mark.parametrize(
    "wrong",
    [{"urls": "http://x"}, {"urls": "ldap://"}, {"urls": "ldap://u:p@x"}, {"urls": "ldap://x:99999"}, {"ca": "no PEM"}, {"base_dn": "people"},
     {"user_filter": "uid={username}"}, {"user_filter": "(uid=all)"}, {"bind_dn": "admin"}, {"secret": ""}, {"schema": "nis"}],
)  # fmt: skip
def test_wrong_settings_are_refused_at_their_field(client, admin, slapd, wrong):
    client.force_login(admin)
    assert client.post("/providers/new/", form_data(slapd, **wrong)).status_code == 422
    assert not IdentityProvider.objects.exists()


def test_only_who_manages_users_sees_the_providers(client, provider):
    client.force_login(make_user(role="ReadOnlyAdmin"))
    assert client.get(f"/providers/{provider.pk}/").status_code == 403
    assert client.post(f"/providers/{provider.pk}/test/", {"username": "alice"}).status_code == 403
