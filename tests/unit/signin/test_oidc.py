"""Sign-in by OpenID Connect, against a provider that really answers."""

import base64
import hashlib
from datetime import timedelta

import pytest
from django.test import Client

from accounts.directory import services
from accounts.directory.models import IdentityProvider
from accounts.factors import services as factors
from accounts.factors.models import Authenticator
from accounts.models import Group, User
from events.models import Event
from tests.build import make_user
from tests.oidc_provider import ALICE, Provider, asked, running

pytestmark = pytest.mark.django_db
SECRET = "the client's own secret"


@pytest.fixture(scope="module")
def server():
    with running() as provider:
        yield provider


@pytest.fixture
def remote(server: Provider):
    server.set_user("u-1", **ALICE)
    yield server
    server.tamper.clear()


@pytest.fixture
def provider(remote):
    made = IdentityProvider(kind="oidc", name="Example", enabled=True, settings={"issuer": remote.issuer, "client_id": "vireo"})
    made.secret = SECRET
    made.save()
    return made


def start(client, provider, next_="/vms/"):
    answer = client.get(f"/sign-in/by/{provider.pk}/", {"next": next_})
    assert answer.status_code == 302
    return answer.headers["Location"]


def sign_in(client, remote, provider, sub="u-1", **more):
    return client.get(remote.agree(start(client, provider, **more), sub))


def is_in(client):
    return client.get("/me/").status_code == 200


def refused(client, answer, words=""):
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in/")
    assert words in client.get("/sign-in/").content.decode()
    assert not is_in(client)
    return True


def test_the_first_sign_in_makes_the_user_and_the_groups_follow(client, remote, provider):
    staff, sales = Group.objects.create(name="Staff"), Group.objects.create(name="Sales")
    admin = make_user(role="SuperUser")
    services.map_group(admin, provider, "staff", staff)
    services.map_group(admin, provider, "sales", sales)
    assert "Sign in by Example" in client.get("/sign-in/").content.decode()
    assert sign_in(client, remote, provider).headers["Location"] == "/vms/"
    alice = User.objects.get(username="alice")
    assert (alice.source, alice.external_id, alice.full_name, alice.email) == (provider, "u-1", "Alice Example", "alice@example.org")
    assert set(alice.member_of.all()) == {staff}
    client.logout()
    remote.set_user("u-1", **ALICE | {"preferred_username": "alice.b", "groups": ["sales"]})
    sign_in(client, remote, provider)
    alice.refresh_from_db()
    assert (alice.username, set(alice.member_of.all())) == ("alice.b", {sales})


def test_it_asks_with_pkce_state_and_nonce(client, remote, provider):
    url = start(client, provider)
    sent = asked(url)
    assert (
        sent["response_type"] == "code" and sent["code_challenge_method"] == "S256" and len(sent["state"]) > 20 and len(sent["nonce"]) >= 20
    )
    assert SECRET not in url
    client.get(remote.agree(url, "u-1"))
    verifier = remote.token_requests[-1]["code_verifier"]
    assert base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode() == sent["code_challenge"]


def test_an_answer_to_another_browsers_question_is_refused(client, remote, provider):
    back = remote.agree(start(Client(), provider), "u-1")
    assert refused(client, client.get(back), "did not confirm")
    start(client, provider)
    assert refused(client, client.get(back), "did not confirm")


def test_an_answer_is_good_once(client, remote, provider):
    back = remote.agree(start(client, provider), "u-1")
    assert client.get(back).status_code == 302
    assert is_in(client)
    client.logout()
    assert refused(client, client.get(back))


@pytest.mark.parametrize(
    "query", ["", "?code=x", "?state=x", "?code=x&state=x", "?error=access_denied&error_description=<script>", "?code=&state="]
)
def test_nonsense_is_refused(client, provider, query):
    answer = client.get(f"/sign-in/by/{provider.pk}/return/{query}")
    assert refused(client, answer)


def test_an_id_token_for_another_question_is_refused(client, remote, provider):
    url = start(client, provider)
    back = remote.agree(url.replace(asked(url)["nonce"], "another"), "u-1")
    assert refused(client, client.get(back), "did not confirm")


def test_a_changed_id_token_is_refused(client, remote, provider):
    def changed(answer):
        head, body, _ = answer["id_token"].split(".")
        return answer | {"id_token": f"{head}.{body}.{'A' * 342}"}

    remote.tamper["/oauth2/token"] = changed
    assert refused(client, sign_in(client, remote, provider), "did not confirm")


def test_an_unsigned_id_token_is_refused(client, remote, provider):
    def unsigned(answer):
        _, body, _ = answer["id_token"].split(".")
        head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        return answer | {"id_token": f"{head}.{body}."}

    remote.tamper["/oauth2/token"] = unsigned
    assert refused(client, sign_in(client, remote, provider))
    remote.tamper["/oauth2/token"] = lambda answer: {name: value for name, value in answer.items() if name != "id_token"}
    assert refused(client, sign_in(client, remote, provider))


def test_user_data_of_somebody_else_are_refused(client, remote, provider):
    remote.tamper["/userinfo"] = lambda answer: answer | {"sub": "u-2", "preferred_username": "root"}
    assert refused(client, sign_in(client, remote, provider))


def test_an_id_token_that_has_expired_is_refused(client, provider):
    with running(lifetime=timedelta(hours=-1)) as late:
        late.set_user("u-1", **ALICE)
        provider.settings["issuer"] = late.issuer
        provider.save()
        assert refused(client, sign_in(client, late, provider))


def test_a_provider_that_calls_itself_otherwise_or_leaves_https_is_not_used(client, remote, provider):
    remote.tamper["/.well-known/openid-configuration"] = lambda answer: answer | {"issuer": "https://evil.example"}
    assert refused(client, client.get(f"/sign-in/by/{provider.pk}/"), "calls itself otherwise")
    remote.tamper["/.well-known/openid-configuration"] = lambda answer: answer | {"token_endpoint": "http://192.0.2.1/token"}
    assert refused(client, client.get(f"/sign-in/by/{provider.pk}/"), "not HTTPS")


def test_a_provider_that_is_away_is_said(client, provider):
    provider.settings["issuer"] = "http://localhost:1"
    provider.save()
    assert refused(client, client.get(f"/sign-in/by/{provider.pk}/"), "does not answer")


def test_a_local_user_is_not_taken_over_by_a_name(client, remote, provider):
    root = make_user("Alice", role="SuperUser")
    assert refused(client, sign_in(client, remote, provider), "exists already")
    root.refresh_from_db()
    assert root.source is None


@pytest.mark.parametrize("claims", [{}, {"preferred_username": ""}, {"preferred_username": ["alice"]}, {"preferred_username": "x" * 151}])
def test_who_has_no_usable_name_stays_out(client, remote, provider, claims):
    remote.set_user("u-9", **claims)
    assert refused(client, sign_in(client, remote, provider, "u-9"))
    assert not User.objects.exists()


def test_whom_an_administrator_deactivated_stays_out(client, remote, provider):
    sign_in(client, remote, provider)
    User.objects.update(is_active=False)
    client.logout()
    assert refused(client, sign_in(client, remote, provider), "may not sign in")


def test_a_second_factor_is_asked_for_here_too(client, remote, provider):
    sign_in(client, remote, provider)
    device = Authenticator(user=User.objects.get())
    device.secret = "A" * 32
    device.save()
    assert factors.has_factor(device.user)
    client.logout()
    assert sign_in(client, remote, provider).headers["Location"] == "/sign-in/second/?next=%2Fvms%2F"
    assert not is_in(client)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_it_leads_nowhere_foreign(client, remote, provider, target):
    assert sign_in(client, remote, provider, next_=target).headers["Location"] == "/"


def test_a_provider_that_is_off_or_of_another_kind_is_not_there(client, provider):
    IdentityProvider.objects.update(enabled=False)
    assert client.get(f"/sign-in/by/{provider.pk}/").status_code == 404
    assert client.get(f"/sign-in/by/{provider.pk}/return/?code=x&state=x").status_code == 404
    IdentityProvider.objects.update(enabled=True, kind="ldap")
    assert client.get(f"/sign-in/by/{provider.pk}/").status_code == 404


def test_the_pages_set_up_and_test_a_provider(client, remote):
    admin = make_user("admin", role="SuperUser")
    client.force_login(admin)
    data = {"name": "Example", "issuer": remote.issuer + "/", "client_id": "vireo", "secret": SECRET, "groups_claim": "groups"}
    assert client.get("/providers/new/?kind=oidc").status_code == 200
    assert client.post("/providers/new/?kind=oidc", data | {"issuer": "http://login.example"}).status_code == 422
    assert client.post("/providers/new/?kind=oidc", data).status_code == 302
    made = IdentityProvider.objects.get()
    assert (made.kind, made.settings["issuer"], made.secret) == ("oidc", remote.issuer, SECRET)
    services.map_group(admin, made, "staff", Group.objects.create(name="Staff"))
    page = client.get(f"/providers/{made.pk}/").content.decode()
    assert f"http://testserver/sign-in/by/{made.pk}/return/" in page and SECRET.replace("'", "&#x27;") not in page
    back = remote.agree(client.get(f"/providers/{made.pk}/try/").headers["Location"], "u-1")
    answer = client.get(back)
    page = answer.content.decode()
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    assert "knows alice" in page and "developers" in page and ">Staff</a>" in page
    assert client.session["_auth_user_id"] == str(admin.pk)
    assert not User.objects.filter(username="alice").exists()
    assert not any(SECRET in f"{event.message}{event.details}" for event in Event.objects.all())


def test_only_an_administrator_tests(client, provider):
    client.force_login(make_user(role="ReadOnlyAdmin"))
    assert client.get(f"/providers/{provider.pk}/try/").status_code == 403
