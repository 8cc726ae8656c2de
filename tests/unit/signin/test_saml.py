"""Sign-in by SAML, against a provider that really signs; and every answer that must not sign anybody in."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.directory import services
from accounts.directory.models import IdentityProvider
from accounts.directory.saml import metadata
from accounts.models import Group, User
from tests.build import PASSWORD, make_user
from tests.saml_provider import ALICE, ENTITY_ID, SIGN_ON, Provider, as_form, make_key

pytestmark = pytest.mark.django_db
ASSERTION = re.compile(r"<(\w+:)Assertion .*?</\1Assertion>", re.DOTALL)
SIGNATURE = re.compile(r"<(\w+:)Signature[ >].*?</\1Signature>", re.DOTALL)


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    return Provider(tmp_path_factory.mktemp("idp"))


@pytest.fixture
def provider(remote):
    settings = metadata.read(remote.metadata()) | {"username_attribute": "uid"}
    return IdentityProvider.objects.create(kind="saml", name="Example", enabled=True, settings=settings)


def ask(client, provider, next_="/vms/"):
    answer = client.get(f"/sign-in/saml/{provider.pk}/", {"next": next_})
    assert answer.status_code == 302 and answer.headers["Location"].startswith(SIGN_ON)
    return answer.headers["Location"]


def ours(provider):
    return Client().get(f"/sign-in/saml/{provider.pk}/metadata/").content.decode()


def honest(client, remote, provider, **more):
    return remote.answer(ask(client, provider), ours(provider), **more)


def bring(client, provider, xml):
    """As the browser does: posted without a session, then fetched with it."""
    posted = Client().post(f"/sign-in/saml/{provider.pk}/answer/", as_form(xml))
    assert posted.status_code == 303
    return client.get(posted.headers["Location"])


def is_in(client):
    return client.get("/me/").status_code == 200


def assert_refused(client, answer):
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in/")
    assert "Begin again" in client.get("/sign-in/").content.decode()
    assert not is_in(client)


def test_the_first_sign_in_makes_the_user_and_the_groups_follow(client, remote, provider):
    staff, sales = Group.objects.create(name="Staff"), Group.objects.create(name="Sales")
    admin = make_user(role="SuperUser")
    services.map_group(admin, provider, "staff", staff)
    services.map_group(admin, provider, "sales", sales)
    assert "Sign in by Example" in client.get("/sign-in/").content.decode()
    assert bring(client, provider, honest(client, remote, provider)).headers["Location"] == "/vms/"
    assert is_in(client)
    alice = User.objects.get(username="alice")
    assert (alice.source, alice.external_id, alice.full_name, alice.email) == (provider, "u-1", "Alice Example", "alice@example.org")
    assert set(alice.member_of.all()) == {staff}
    client.logout()
    changed = ALICE | {"uid": ["alice.b"], "groups": ["sales"]}
    bring(client, provider, honest(client, remote, provider, identity=changed))
    alice.refresh_from_db()
    assert (alice.username, set(alice.member_of.all())) == ("alice.b", {sales})


def test_the_session_key_changes_and_relay_state_leads_nowhere(client, remote, provider):
    xml = honest(client, remote, provider)
    before = client.session.session_key
    assert bring(client, provider, xml).headers["Location"] == "/vms/"
    assert client.session.session_key != before


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_leads_to_no_other_site(client, remote, provider, wanted):
    xml = remote.answer(ask(client, provider, wanted), ours(provider))
    assert bring(client, provider, xml).headers["Location"] == "/"


def later(minutes):
    return f"{datetime.now(UTC) + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def replaced(pattern, by):
    def change(xml):
        changed, count = re.subn(pattern, by, xml)
        assert count, pattern
        return changed

    return change


# What a provider would never say, although its own key signed it.
SIGNED_NONSENSE = {
    "for another": replaced(r"(<\w+:Audience>)[^<]*", r"\1https://other.example/"),
    "for nobody": replaced(r"<(\w+):AudienceRestriction>.*?</\1:AudienceRestriction>", ""),
    "for another address": replaced(r'Recipient="[^"]*"', 'Recipient="https://other.example/"'),
    "sent to another address": replaced(r'Destination="[^"]*"', 'Destination="https://other.example/"'),
    "too late": replaced(r'NotOnOrAfter="[^"]*"', f'NotOnOrAfter="{later(-10)}"'),
    "too early": replaced(r'NotBefore="[^"]*"', f'NotBefore="{later(10)}"'),
    "for ever": replaced(r'NotOnOrAfter="[^"]*"', f'NotOnOrAfter="{later(60 * 24 * 40)}"'),
    "another question": replaced(r'InResponseTo="[^"]*"', 'InResponseTo="_0123456789"'),
    "no question": replaced(r' InResponseTo="[^"]*"', ""),
    "another provider": replaced(re.escape(ENTITY_ID), "https://other.example/saml"),
    "of a weak kind": replaced("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
    "a refusal": replaced("urn:oasis:names:tc:SAML:2.0:status:Success", "urn:oasis:names:tc:SAML:2.0:status:Requester"),
    "nobody": replaced(r"<(\w+):AttributeStatement>.*?</\1:AttributeStatement>", ""),
}


@pytest.mark.parametrize("change", SIGNED_NONSENSE.values(), ids=SIGNED_NONSENSE)
def test_what_is_signed_but_not_meant_for_this_sign_in_is_refused(client, remote, provider, change):
    xml = remote.sign_again(change(honest(client, remote, provider)))
    answer = bring(client, provider, xml)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in/")
    assert not is_in(client) and not User.objects.filter(username="alice").exists()


def test_an_answer_that_was_only_signed_again_signs_in(client, remote, provider):
    """So the others are refused for what they say."""
    bring(client, provider, remote.sign_again(replaced(">alice<", ">alice.again<")(honest(client, remote, provider))))
    assert is_in(client) and User.objects.filter(username="alice.again").exists()


def wrapped(xml):
    """The signed assertion hides in a corner; a forged one takes its place."""
    signed = ASSERTION.search(xml)[0]
    forged = SIGNATURE.sub("", signed).replace(">alice<", ">root<").replace('ID="', 'ID="x', 1)
    return xml.replace(signed, forged + f"<ds:Object xmlns:ds='http://www.w3.org/2000/09/xmldsig#'>{signed}</ds:Object>")


def followed(xml):
    signed = ASSERTION.search(xml)[0]
    return xml.replace(signed, signed + SIGNATURE.sub("", signed).replace(">alice<", ">root<").replace('ID="', 'ID="x', 1))


def same_id(xml):
    signed = ASSERTION.search(xml)[0]
    return xml.replace(signed, SIGNATURE.sub("", signed).replace(">alice<", ">root<") + signed)


FORGED = {
    "unsigned": lambda xml: SIGNATURE.sub("", xml),
    "changed": lambda xml: xml.replace(">alice<", ">root<"),
    "wrapped": wrapped,
    "followed by a second": followed,
    "two of one id": same_id,
    "a comment in the name": lambda xml: xml.replace(">alice<", ">root<!-- -->alice<"),
    "entities": lambda xml: '<!DOCTYPE x [<!ENTITY a "root">]>' + re.sub(r"^<\?xml[^>]*\?>", "", xml).replace(">alice<", ">&a;<"),
    "a file": lambda xml: (
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + re.sub(r"^<\?xml[^>]*\?>", "", xml).replace(">alice<", ">&a;<")
    ),
    "no XML": lambda xml: "<x",
    "not SAML": lambda xml: "<html/>",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_answer_is_refused(client, remote, provider, forge):
    make_user("root", role="SuperUser")
    assert_refused(client, bring(client, provider, forge(honest(client, remote, provider))))
    assert not User.objects.filter(username="alice").exists()


def test_another_key_signs_nobody_in(client, remote, provider, tmp_path):
    key, _certificate = make_key(tmp_path, "other")
    assert_refused(client, bring(client, provider, remote.sign_again(honest(client, remote, provider), key)))


def test_an_answer_is_good_once(client, remote, provider):
    xml = honest(client, remote, provider)
    bring(client, provider, xml)
    assert is_in(client)
    client.logout()
    assert_refused(client, bring(client, provider, xml))


def test_an_assertion_is_good_once_even_as_the_answer_to_another_question(client, remote, provider):
    """Two answers with one assertion id, each to a question of its own."""
    first = honest(client, remote, provider)
    bring(client, provider, first)
    client.logout()
    second = honest(client, remote, provider)
    ids = [re.search(r"<\w+:Assertion [^>]*?ID=\"([^\"]+)\"", xml)[1] for xml in (first, second)]
    assert_refused(client, bring(client, provider, remote.sign_again(second.replace(ids[1], ids[0]))))


def test_an_answer_to_another_browsers_question_is_refused(client, remote, provider):
    theirs = honest(Client(), remote, provider)
    assert_refused(client, bring(client, provider, theirs))
    ask(client, provider)
    assert_refused(client, bring(client, provider, theirs))


def test_an_answer_of_one_provider_is_none_of_anothers(client, remote, provider):
    other = IdentityProvider.objects.create(kind="saml", name="Other", enabled=True, settings=provider.settings)
    assert_refused(client, bring(client, other, honest(client, remote, provider)))


@pytest.mark.parametrize("sent", [{}, {"SAMLResponse": ""}, {"SAMLResponse": "%%%"}, {"SAMLResponse": "x" * 500_000}])
def test_nonsense_is_refused(client, provider, sent):
    posted = client.post(f"/sign-in/saml/{provider.pk}/answer/", sent)
    assert_refused(client, client.get(posted.headers["Location"]))


def test_who_is_locked_or_of_a_provider_that_is_off_stays_out(client, remote, provider):
    bring(client, provider, honest(client, remote, provider))
    client.logout()
    User.objects.filter(username="alice").update(is_active=False)
    answer = bring(client, provider, honest(client, remote, provider))
    assert answer.headers["Location"] == "/sign-in/" and not is_in(client)
    xml = honest(client, remote, provider)
    IdentityProvider.objects.update(enabled=False)
    assert bring(client, provider, xml).status_code == 404
    assert client.get(f"/sign-in/saml/{provider.pk}/").status_code == 404


def test_a_name_that_a_local_user_has_is_not_taken_over(client, remote, provider):
    local = make_user("alice", role="SuperUser")
    answer = bring(client, provider, honest(client, remote, provider))
    assert answer.headers["Location"] == "/sign-in/" and not is_in(client)
    local.refresh_from_db()
    assert local.source is None


def test_the_test_button_shows_what_the_provider_says_and_signs_nobody_in(client, remote, provider):
    IdentityProvider.objects.update(enabled=False)
    client.login(username=make_user("admin", role="SuperUser").username, password=PASSWORD)
    asked = client.get(f"/providers/{provider.pk}/try-saml/")
    page = bring(client, provider, remote.answer(asked.headers["Location"], ours(provider))).content.decode()
    assert "alice@example.org" in page and "Nobody was signed in by it" in page
    assert not User.objects.filter(username="alice").exists()
    asked = client.get(f"/providers/{provider.pk}/try-saml/")
    page = bring(client, provider, FORGED["changed"](remote.answer(asked.headers["Location"], ours(provider)))).content.decode()
    assert "did not confirm" in page


def test_metadata_fill_in_the_form(client, remote):
    client.force_login(make_user("admin", role="SuperUser"))
    page = client.post(
        "/providers/new/?kind=saml", {"kind": "saml", "name": "Example", "metadata": remote.metadata(), "username_attribute": "uid"}
    )
    assert page.status_code == 302, page.content.decode()[-2000:]
    made = IdentityProvider.objects.get()
    assert (made.settings["entity_id"], made.settings["sso_url"]) == (ENTITY_ID, SIGN_ON)
    assert made.settings["certificates"].startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<x", "cannot be read"),
        ("<EntityDescriptor/>", "no identity provider"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "DTD"),
    ],
)
def test_bad_metadata_are_refused_with_the_reason(text, words):
    with pytest.raises(metadata.BadMetadata, match=words):
        metadata.read(text)


def test_the_library_is_loaded_by_who_signs_in_only():
    """It costs every process 20 MiB."""
    import subprocess
    import sys

    code = "import django; django.setup(); import portal.urls, sys; print('saml2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
