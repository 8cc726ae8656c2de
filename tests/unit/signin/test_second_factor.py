"""The second factor: set up, asked for, demanded by a group, used once, and reset."""

from datetime import timedelta

import pyotp
import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts import services as people
from accounts.factors import services
from accounts.factors.models import Authenticator, RecoveryCode
from accounts.models import Group, Role, User
from accounts.permissions import grant
from accounts.sessions.models import UserSession
from events.models import Event
from tests.build import PASSWORD, make_user
from tests.sockets import Browser

pytestmark = pytest.mark.django_db


def enrol(client):
    """Goes through the page; returns the app and the recovery codes."""
    page = client.get("/me/factors/app/").content.decode()
    assert "data:image/svg+xml" in page
    secret = page.split('v-mono">')[1].split("<")[0].replace(" ", "")
    app = pyotp.TOTP(secret)
    done = client.post("/me/factors/app/", {"code": app.now()})
    assert done.status_code == 200, done.content.decode()
    codes = done.content.decode().split('id="recovery-codes"')[1].split(">", 1)[1].split("</pre>")[0].split()
    assert len(codes) == 10
    return app, codes


def forget_last_code():
    """As if the code of the enrolment were long ago."""
    Authenticator.objects.update(last_step=F("last_step") - 10)


@pytest.fixture
def anna(client):
    user = make_user("anna")
    client.force_login(user)
    user.app, user.codes = enrol(client)
    forget_last_code()
    client.logout()
    return user


def password(client, username="anna", **more):
    return client.post("/sign-in/", {"username": username, "password": PASSWORD, **more})


def code(client, text, **more):
    return client.post("/sign-in/second/", {"code": text, **more})


def is_in(client):
    return client.get("/me/").status_code == 200


def test_signing_in_takes_the_password_and_the_code(client, anna):
    answer = password(client, next="/users/")
    assert answer.headers["Location"] == "/sign-in/second/?next=%2Fusers%2F"
    assert not is_in(client)
    assert client.get("/api/v1/vms").status_code == 401
    assert client.get(answer.headers["Location"]).status_code == 200
    assert code(client, "000000").status_code == 422
    assert not is_in(client)
    before = client.session.session_key
    assert code(client, anna.app.now(), next="/users/").headers["Location"] == "/users/"
    assert is_in(client)
    assert client.session.session_key != before


def test_a_code_is_taken_once(client, anna):
    text = anna.app.now()
    password(client)
    assert code(client, text).status_code == 302
    other = Client()
    password(other)
    assert code(other, text).status_code == 422
    assert not is_in(other)


@pytest.mark.parametrize("text", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "' or 1=1 --", "0" * 41])
def test_what_is_no_code(client, anna, text):
    password(client)
    assert code(client, text).status_code in (200, 422)
    assert not is_in(client)


def test_guessing_codes_is_slowed_down_and_leaves_the_recovery_codes(client, anna):
    password(client)
    for _ in range(10):
        answer = code(client, "000000")
    assert answer.status_code == 429
    assert code(client, anna.app.now()).status_code == 429
    assert code(client, anna.codes[0]).status_code == 302
    Authenticator.objects.update(failed_at=timezone.now() - timedelta(minutes=6))
    client.logout()
    password(client)
    assert code(client, anna.app.now()).status_code == 302


def test_a_recovery_code_is_taken_once_however_it_is_typed(client, anna):
    password(client)
    assert code(client, anna.codes[0].upper().replace("-", " ")).status_code == 302
    client.logout()
    password(client)
    assert code(client, anna.codes[0]).status_code == 422
    assert RecoveryCode.objects.filter(user=anna).count() == 9
    assert not RecoveryCode.objects.filter(digest__in=anna.codes).exists()
    bob = make_user("bob")
    assert not services.accept_code(bob, anna.codes[1])


def test_the_question_without_the_password_leads_back(client, anna):
    assert client.get("/sign-in/second/").headers["Location"] == "/sign-in/"
    assert code(client, anna.app.now()).headers["Location"] == "/sign-in/"
    assert not is_in(client)


def test_the_question_is_not_open_for_long_nor_after_the_password_changed(client, anna):
    password(client)
    session = client.session
    session["second_factor_of"] = session["second_factor_of"] | {"at": session["second_factor_of"]["at"] - 301}
    session.save()
    assert code(client, anna.app.now()).headers["Location"] == "/sign-in/"
    password(client)
    people.set_password(anna, anna, "another pass phrase")
    assert code(client, anna.app.now()).headers["Location"] == "/sign-in/"
    assert not is_in(client)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_the_question_leads_nowhere_foreign(client, anna, target):
    assert "evil" not in password(client, next=target).headers["Location"]
    assert code(client, anna.app.now(), next=target).headers["Location"] == "/"


def test_the_secret_is_encrypted_and_shown_once(client, anna):
    device = Authenticator.objects.get()
    assert device.secret == anna.app.secret
    assert anna.app.secret not in device.encrypted_secret
    password(client)
    code(client, anna.app.now())
    assert client.get("/me/factors/app/").status_code == 302
    assert anna.app.secret not in client.get("/me/factors/").content.decode()
    assert not any(anna.app.secret in f"{event.message}{event.details}" for event in Event.objects.all())


def test_a_wrong_first_code_sets_nothing_up(client):
    client.force_login(make_user())
    client.get("/me/factors/app/")
    assert client.post("/me/factors/app/", {"code": "000000"}).status_code == 422
    assert not Authenticator.objects.exists()


# Demanded by a group


@pytest.fixture
def team():
    admin = make_user("admin", role="SuperUser")
    group = Group.objects.create(name="careful", require_second_factor=True)
    member = make_user("member", role="ReadOnlyAdmin")
    group.members.add(member)
    return admin, group, member


def test_who_must_have_one_is_led_to_it_and_to_nothing_else(client, team):
    password(client, "member")
    for path in ("/", "/vms/", "/me/", "/users/"):
        assert client.get(path).headers.get("Location") == "/me/factors/", path
    assert client.post("/me/tokens/new/", {"name": "x", "scope": "all"}).headers["Location"] == "/me/factors/"
    assert client.get("/api/v1/vms").status_code == 403
    assert client.get("/vms/", headers={"HX-Request": "true"}).headers["HX-Redirect"] == "/me/factors/"
    assert "demands a second factor" in client.get("/me/factors/").content.decode()
    enrol(client)
    assert client.get("/vms/").status_code == 200
    assert client.get("/api/v1/vms").status_code == 200


def test_who_must_have_one_keeps_the_last(client, team):
    admin, group, member = team
    client.force_login(member)
    enrol(client)
    with pytest.raises(ValidationError, match="before you remove"):
        services.remove_authenticator(member)
    assert Authenticator.objects.exists()
    people.save_group(admin, group, [])
    services.remove_authenticator(member)
    assert not Authenticator.objects.exists()
    assert not RecoveryCode.objects.exists()


def test_the_groups_page_demands_it(client, team):
    admin, group, member = team
    client.force_login(admin)
    assert client.post(f"/groups/{group.pk}/", {"name": "careful", "members": [str(member.pk)]}).status_code == 302
    group.refresh_from_db()
    assert not group.require_second_factor


@pytest.mark.django_db(transaction=True)
async def test_what_is_open_closes_when_it_is_demanded():
    def build():
        admin, member = make_user(role="SuperUser"), make_user()
        group = Group.objects.create(name="careful")
        group.members.add(member)
        return admin, member, group, Browser(member)

    admin, member, group, browser = await sync_to_async(build)()
    socket = browser.live()
    assert await socket.connect()
    group.require_second_factor = True
    await sync_to_async(people.save_group)(admin, group, [member])
    assert (await socket.receive(2)).get("code") == 4401


# Changing and resetting


def test_an_old_session_does_not_change_the_factors(client, anna):
    password(client)
    code(client, anna.app.now())
    UserSession.objects.update(created_at=timezone.now() - timedelta(minutes=16))
    for path in ("/me/factors/app/remove/", "/me/factors/recovery-codes/"):
        client.post(path)
    assert Authenticator.objects.exists()
    assert services.accept_code(anna, anna.codes[0])
    UserSession.objects.update(created_at=timezone.now())
    client.post("/me/factors/app/remove/")
    assert not Authenticator.objects.exists()


def test_new_recovery_codes_end_the_old(client, anna):
    password(client)
    code(client, anna.app.now())
    assert "recovery-codes" in client.post("/me/factors/recovery-codes/").content.decode()
    assert not services.accept_code(anna, anna.codes[0])


def test_an_administrator_resets_the_factors_and_ends_the_sessions(client, anna):
    browser = Client()
    password(browser)
    code(browser, anna.app.now())
    admin = make_user(role="SuperUser")
    client.force_login(make_user(role="ReadOnlyAdmin"))
    assert client.post(f"/users/{anna.pk}/factors/reset/").status_code == 403
    client.force_login(admin)
    assert "Second factor" in client.get(f"/users/{anna.pk}/").content.decode()
    assert client.post(f"/users/{anna.pk}/factors/reset/").status_code == 302
    assert not services.has_factor(anna)
    assert not is_in(browser)
    assert Event.objects.filter(kind="second_factor.reset", object_id=anna.pk, user=admin).exists()
    assert password(browser).headers["Location"] == "/"


def test_nobody_resets_the_factors_of_who_holds_more(anna):
    role = Role.objects.create(name="UserManager")
    role.permissions.create(permission="user.manage")
    manager = make_user("manager")
    grant("UserManager", user=manager)
    grant("SuperUser", user=User.objects.get(pk=anna.pk))
    with pytest.raises(PermissionDenied, match="do not hold"):
        services.reset(manager, anna)
    with pytest.raises(PermissionDenied, match="do not hold"):
        people.set_password(manager, anna, "another pass phrase")
