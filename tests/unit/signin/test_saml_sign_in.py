"""Sign-in by SAML 2.0, against a provider that really signs."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from accounts.directory import services
from accounts.directory.models import IdentityProvider
from accounts.directory.saml import metadata
from accounts.factors.models import Authenticator
from accounts.models import Group, User
from events.models import Event
from tests.build import make_user
from tests.saml_provider import ALICE, SSO
from tests.unit.signin.saml import is_in, post, refused, sign_in, start, vireo

pytestmark = pytest.mark.django_db


def test_the_first_sign_in_makes_the_user_and_the_groups_follow(client, idp, saml):
    staff, sales = Group.objects.create(name="Staff"), Group.objects.create(name="Sales")
    admin = make_user(role="SuperUser")
    services.map_group(admin, saml, "staff", staff)
    services.map_group(admin, saml, "sales", sales)
    assert "Sign in by Example" in client.get("/sign-in/").content.decode()
    assert sign_in(client, idp, saml).headers["Location"] == "/vms/"
    assert is_in(client)
    alice = User.objects.get(username="alice")
    assert (alice.source, alice.external_id, alice.full_name, alice.email) == (saml, "alice", "Alice Example", "alice@example.org")
    assert set(alice.member_of.all()) == {staff}
    client.logout()
    sign_in(client, idp, saml, identity=ALICE | {"groups": ["sales"], "displayName": ["Alice Married"]})
    alice.refresh_from_db()
    assert (alice.full_name, set(alice.member_of.all())) == ("Alice Married", {sales})


def test_a_user_is_known_again_by_the_attribute_that_lasts(client, idp, saml):
    saml.settings |= {"id_attribute": "employeeNumber", "username_attribute": "uid"}
    saml.save()
    sign_in(client, idp, saml, identity=ALICE | {"employeeNumber": ["7"]})
    client.logout()
    sign_in(client, idp, saml, name="whatever", identity=ALICE | {"employeeNumber": ["7"], "uid": ["alice.b"]})
    assert [(each.username, each.external_id) for each in User.objects.all()] == [("alice.b", "7")]


def test_the_question_says_who_asks_and_where_the_answer_goes(client, idp, saml):
    address = start(client, saml)
    assert address.startswith(f"{SSO}?SAMLRequest=")
    assert "RelayState" not in parse_qs(urlsplit(address).query)
    ours = vireo(client, saml)
    assert f'entityID="http://testserver/sign-in/saml/{saml.pk}/metadata/"' in ours and 'WantAssertionsSigned="true"' in ours
    assert f'Destination="http://testserver/sign-in/saml/{saml.pk}/answer/"' in idp.answer(ours, address).decode()
    assert start(client, saml) != address


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_it_leads_nowhere_foreign(client, idp, saml, target):
    assert sign_in(client, idp, saml, next_=target).headers["Location"] == "/"
    client.logout()
    assert sign_in(client, idp, saml, relay_state=target).headers["Location"] == "/vms/"


def test_a_local_user_is_not_taken_over_by_a_name(client, idp, saml):
    root = make_user("Alice", role="SuperUser")
    assert refused(client, sign_in(client, idp, saml), "exists already")
    root.refresh_from_db()
    assert root.source is None


def test_whom_an_administrator_locked_stays_out(client, idp, saml):
    sign_in(client, idp, saml)
    User.objects.update(is_active=False)
    client.logout()
    assert refused(client, sign_in(client, idp, saml), "This account may not sign in.")


def test_a_second_factor_is_asked_for_here_too(client, idp, saml):
    sign_in(client, idp, saml)
    device = Authenticator(user=User.objects.get())
    device.secret = "A" * 32
    device.save()
    client.logout()
    assert sign_in(client, idp, saml).headers["Location"] == "/sign-in/second/?next=%2Fvms%2F"
    assert not is_in(client)


def test_a_provider_that_is_switched_off_lets_nobody_in(client, idp, saml):
    address = start(client, saml)
    IdentityProvider.objects.update(enabled=False)
    answer = post(client, saml, idp.answer(vireo(client, saml), address))
    assert refused(client, answer, "switched off")
    assert refused(client, client.get(f"/sign-in/saml/{saml.pk}/"), "switched off")
    assert not User.objects.exists()
    assert "Sign in by Example" not in client.get("/sign-in/").content.decode()


def test_a_provider_of_another_kind_is_not_there(client, saml):
    IdentityProvider.objects.update(kind="oidc")
    for part in ("", "metadata/", "return/"):
        assert client.get(f"/sign-in/saml/{saml.pk}/{part}").status_code == 404
    assert client.post(f"/sign-in/saml/{saml.pk}/answer/", {"SAMLResponse": ""}).status_code == 404


def test_who_is_in_already_is_not_signed_in_anew(client, idp, saml):
    address = start(client, saml)
    document, user = idp.answer(vireo(client, saml), address), make_user()
    client.force_login(user)
    assert post(client, saml, document).headers["Location"] == "/"
    assert client.session["_auth_user_id"] == str(user.pk)
    assert not User.objects.filter(username="alice").exists()


@pytest.mark.parametrize("identity", [{}, {"uid": [""]}, {"uid": ["alice", "root"]}, {"uid": ["x" * 151]}])
def test_who_has_no_usable_name_stays_out(client, idp, saml, identity):
    saml.settings |= {"username_attribute": "uid"}
    saml.save()
    assert refused(client, sign_in(client, idp, saml, identity=identity or {"mail": ["a@example.org"]}))
    assert not User.objects.exists()


def test_the_pages_set_up_and_test_a_provider(client, idp):
    admin = make_user("admin", role="SuperUser")
    client.force_login(admin)
    assert client.get("/providers/new/?kind=saml").status_code == 200
    assert client.post("/providers/new/?kind=saml", {"name": "Example", "metadata": "<a/>"}).status_code == 422
    assert client.post("/providers/new/?kind=saml", {"name": "Example", "metadata": idp.metadata()}).status_code == 302
    made = IdentityProvider.objects.get()
    assert (made.settings["entity_id"], made.settings["sso_url"], made.enabled) == (idp.entity_id, SSO, False)
    assert made.settings["certificates"].split() == idp.certificate.split()
    services.map_group(admin, made, "staff", Group.objects.create(name="Staff"))
    assert f"http://testserver/sign-in/saml/{made.pk}/metadata/" in client.get(f"/providers/{made.pk}/").content.decode()
    assert metadata.described(idp.certificate)[0] in client.get(f"/providers/{made.pk}/").content.decode()
    address = client.get(f"/providers/{made.pk}/try-saml/").headers["Location"]
    document = idp.answer(vireo(client, made), address)
    answer = post(client, made, document)
    page = answer.content.decode()
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    assert "knows alice" in page and "developers" in page and ">Staff</a>" in page
    # What the metadata held: who signs, until when, and by which certificate.
    assert f"It calls itself {idp.entity_id}" in page and SSO in page
    assert "login.example.org" in page and metadata.described(idp.certificate)[0] in page
    assert client.session["_auth_user_id"] == str(admin.pk)
    assert not User.objects.filter(username="alice").exists()
    assert Event.objects.filter(kind="identity_provider.tested").count() == 1


def test_the_test_says_why_an_answer_is_refused(client, idp, saml, stranger):
    client.force_login(make_user("admin", role="SuperUser"))
    address = client.get(f"/providers/{saml.pk}/try-saml/").headers["Location"]
    page = post(client, saml, stranger.answer(vireo(client, saml), address)).content.decode()
    assert "did not confirm this sign-in" in page and "signature" in page.lower()
    assert f"It calls itself {idp.entity_id}" in page


def test_an_answer_to_a_test_signs_nobody_in(client, idp, saml):
    client.force_login(make_user("admin", role="SuperUser"))
    address = client.get(f"/providers/{saml.pk}/try-saml/").headers["Location"]
    document = idp.answer(vireo(client, saml), address)
    session = client.session
    del session["_auth_user_id"]
    session.save()
    assert refused(client, post(client, saml, document), "not one to a question of this browser")


def test_only_an_administrator_tests(client, saml):
    client.force_login(make_user(role="ReadOnlyAdmin"))
    assert client.get(f"/providers/{saml.pk}/try-saml/").status_code == 403


def test_an_answer_without_the_browsers_session_leaves_that_session_alone(client, idp, saml):
    """A browser posts across sites without its cookies: the answer must not begin another session in their place."""
    document = base64.b64encode(idp.answer(vireo(client, saml), start(client, saml))).decode()
    answer = Client(enforce_csrf_checks=True).post(f"/sign-in/saml/{saml.pk}/answer/", {"SAMLResponse": document})
    assert answer.status_code == 303 and not answer.cookies


def test_each_of_several_tabs_gets_its_own_answer(client, idp, saml):
    first, second = start(client, saml, "/vms/"), start(client, saml, "/hosts/")
    ours = vireo(client, saml)
    assert post(client, saml, idp.answer(ours, second)).headers["Location"] == "/hosts/"
    assert post(client, saml, idp.answer(ours, first)).headers["Location"] == "/"  # signed in by the other tab already


def test_without_its_memory_nobody_gets_in(client, idp, saml, settings):
    """Whether an assertion was used before cannot be told then."""
    address = start(client, saml)
    document = idp.answer(vireo(client, saml), address)
    redis = settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": redis}
    assert refused(client, client.get(f"/sign-in/saml/{saml.pk}/return/?code=x"), "not possible at the moment")
    assert refused(client, client.get(f"/sign-in/saml/{saml.pk}/"), "not possible at the moment")
    assert refused(client, post(client, saml, document), "Begin again")


def test_a_name_that_only_looks_like_another_users(client, idp, saml):
    """No other user is found by a name in another case or with spaces around it."""
    make_user("alice", role="SuperUser")
    for name in ("ALICE", " alice "):
        assert refused(client, sign_in(client, idp, saml, name=name, identity=ALICE), "exists already")
