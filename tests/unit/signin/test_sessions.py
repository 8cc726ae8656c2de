"""Sessions: listed, ended at once with all that they have open, and over by themselves."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from accounts.sessions import services
from accounts.sessions.device import device_of
from accounts.sessions.models import UserSession
from events.models import Event
from tests.build import PASSWORD, make_user
from tests.sockets import Browser

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def signed_in(username, agent=FIREFOX):
    client = Client(HTTP_USER_AGENT=agent)
    assert client.post("/sign-in/", {"username": username, "password": PASSWORD}).status_code == 302
    return client


def is_in(client):
    return client.get("/me/").status_code == 200


@pytest.mark.django_db
def test_every_sign_in_is_listed_with_its_device_and_address():
    user = make_user("anna")
    one, two = signed_in("anna"), signed_in("anna", "<script>alert(1)</script> iPhone")
    assert {row.device for row in user.sessions.all()} == {"Firefox on Linux", "iPhone"}
    page = two.get("/me/").content.decode()
    assert "Firefox on Linux" in page and "127.0.0.1" in page and "(this one)" in page and "<script>alert(1)" not in page
    assert one.post("/sign-out/").status_code == 302
    assert user.sessions.count() == 1


@pytest.mark.django_db
def test_a_session_given_before_signing_in_is_worth_nothing_after():
    make_user("anna")
    attacker = Client()
    attacker.get("/sign-in/")
    session = attacker.session
    session["planted"] = "1"
    session.save()
    planted = session.session_key
    victim = Client()
    victim.cookies["vireo_session"] = planted
    victim.post("/sign-in/", {"username": "anna", "password": PASSWORD})
    assert is_in(victim)
    assert victim.session.session_key != planted
    thief = Client()
    thief.cookies["vireo_session"] = planted
    assert not is_in(thief)


@pytest.mark.django_db
def test_one_and_all_others_are_ended_by_their_owner_alone():
    anna, eve = make_user("anna"), make_user("eve")
    here, there, elsewhere = (signed_in("anna") for _ in range(3))
    stranger = signed_in("eve")
    row = UserSession.objects.get(session_key=there.session.session_key)
    assert stranger.post(f"/sessions/{row.pk}/end/").status_code == 403
    assert stranger.post(f"/users/{anna.pk}/sessions/end/").status_code == 403
    assert is_in(there)
    assert here.post(f"/sessions/{row.pk}/end/").status_code == 302
    assert (is_in(here), is_in(there), is_in(elsewhere)) == (True, False, True)
    assert not Session.objects.filter(session_key=row.session_key).exists()
    here.post(f"/users/{anna.pk}/sessions/end/")
    assert (is_in(here), is_in(elsewhere), is_in(stranger)) == (True, False, True)
    assert Event.objects.filter(kind="session.ended", object_id=anna.pk).count() == 2
    with pytest.raises(PermissionDenied):
        services.end(eve, anna.sessions.get())


@pytest.mark.django_db
def test_an_administrator_ends_the_sessions_of_others():
    admin, anna = make_user("admin", role="SuperUser"), make_user("anna")
    browser, office = signed_in("anna"), signed_in("admin")
    assert "Firefox on Linux" in office.get("/sessions/").content.decode()
    assert office.get("/sessions/?format=csv").status_code == 200
    assert "Firefox on Linux" in office.get(f"/users/{anna.pk}/").content.decode()
    office.post(f"/users/{anna.pk}/sessions/end/")
    assert not is_in(browser)
    assert is_in(office)
    assert admin.sessions.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("field, seconds", [("last_seen_at", 2 * 3600), ("created_at", 12 * 3600)])
def test_a_session_is_over_when_unused_or_old(field, seconds):
    make_user("anna")
    browser = signed_in("anna")
    UserSession.objects.update(**{field: timezone.now() - timedelta(seconds=seconds - 60)})
    assert is_in(browser)
    UserSession.objects.update(**{field: timezone.now() - timedelta(seconds=seconds + 1)})
    assert not is_in(browser)
    assert not UserSession.objects.exists()
    assert browser.get("/api/v1/vms").status_code == 401


@pytest.mark.django_db
def test_what_is_over_is_swept(client):
    client.force_login(make_user())
    old = timezone.now() - timedelta(days=1)
    UserSession.objects.update(last_seen_at=old)
    assert services.sweep() == 1
    assert not Session.objects.exists()


@pytest.mark.django_db
def test_a_page_that_keeps_itself_up_to_date_is_no_use_of_the_session(client):
    client.force_login(make_user())
    earlier = timezone.now() - timedelta(minutes=30)
    UserSession.objects.update(last_seen_at=earlier, address="127.0.0.1")
    client.get("/me/", headers={"X-Live": "1"})
    assert UserSession.objects.get().last_seen_at == earlier
    client.get("/me/")
    assert UserSession.objects.get().last_seen_at > earlier


@pytest.mark.django_db
def test_changing_the_password_ends_the_other_sessions_and_keeps_this_one():
    user = make_user("anna")
    here, there = signed_in("anna"), signed_in("anna")
    key = here.session.session_key
    here.post("/me/password/", {"current": PASSWORD, "password": "another pass phrase"})
    assert (is_in(here), is_in(there)) == (True, False)
    assert here.session.session_key != key
    assert [row.session_key for row in user.sessions.all()] == [here.session.session_key]


@pytest.mark.django_db(transaction=True)
async def test_a_session_that_is_ended_closes_its_live_page_within_two_seconds_and_no_other():
    user = await sync_to_async(make_user)()
    browsers = [await sync_to_async(Browser)(user) for _ in range(2)]
    ended, other = [browser.live() for browser in browsers]
    assert await ended.connect() and await other.connect()
    row = await sync_to_async(user.sessions.order_by("created_at").first)()
    await sync_to_async(services.end)(user, row)
    closed = await ended.receive(2)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
    assert (await other.hear("refetch", 2))["op"] == "refetch"
    await other.say(op="ping")
    assert (await other.hear("pong", 2))["op"] == "pong"
    await other.leave()


@pytest.mark.parametrize(
    "agent, device",
    [(FIREFOX, "Firefox on Linux"), ("", "Unknown device"), ("curl/8.1", "curl"),
     ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
     ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1", "Safari on iPhone")],
)  # fmt: skip
def test_devices_have_names(agent, device):
    assert device_of(agent) == device
