"""What must not sign anybody in by SAML. Each is refused for its own reason: the log says which, the page says a sentence."""

import copy

import pytest
from django.test import Client
from lxml import etree
from saml2.xmldsig import DIGEST_SHA1, DIGEST_SHA256, SIG_RSA_SHA1, SIG_RSA_SHA256

from accounts.directory.models import IdentityProvider
from accounts.directory.person import DirectoryProblem
from accounts.directory.saml import exchange, metadata, pending
from accounts.directory.saml.document import DS, SAML, SAMLP
from accounts.models import User
from tests.saml_provider import assertion_of, confirmation
from tests.unit.signin.saml import UNASKED, UNCONFIRMED, is_in, post, refused, sign_in, start, vireo

pytestmark = pytest.mark.django_db
A, P, D = f"{{{SAML}}}", f"{{{SAMLP}}}", f"{{{DS}}}"


@pytest.fixture(autouse=True)
def nobody_came_in(client, saml):
    yield
    assert not User.objects.filter(source=saml).exists()


# --- Who signs


def test_an_unsigned_assertion(client, idp, saml, caplog):
    assert refused(client, sign_in(client, idp, saml, sign=False), UNCONFIRMED)
    assert "the assertion is not signed" in caplog.text


def test_one_signed_by_another_key(client, stranger, saml, caplog):
    assert refused(client, sign_in(client, stranger, saml), UNCONFIRMED)
    assert "signature" in caplog.text.lower()


@pytest.mark.parametrize("algorithms", [(SIG_RSA_SHA1, DIGEST_SHA256), (SIG_RSA_SHA256, DIGEST_SHA1)])
def test_one_signed_by_a_method_that_is_broken(client, idp, saml, caplog, algorithms):
    assert refused(client, sign_in(client, idp, saml, algorithms=algorithms), UNCONFIRMED)
    assert "method is not accepted" in caplog.text


@pytest.mark.parametrize("old, new", [(b">alice<", b">root<"), (b">staff<", b">admins<"), (b"testserver", b"evilserver")])
def test_one_that_was_changed_after_it_was_signed(client, idp, saml, caplog, old, new):
    document = idp.answer(vireo(client, saml), start(client, saml))
    head, mark, body = document.partition(b"Assertion ")
    assert old in body
    assert refused(client, post(client, saml, head + mark + body.replace(old, new)), UNCONFIRMED)


def test_one_of_a_provider_that_calls_itself_otherwise(client, idp, saml, caplog):
    def change(response):
        response.issuer.text = assertion_of(response).issuer.text = "https://other.example.org/metadata"

    assert refused(client, sign_in(client, idp, saml, change=change), UNCONFIRMED)


# --- Signature wrapping: the signed assertion is there, and another one where it is looked for


def forged(assertion):
    """A copy that says root, under another id and without the signature."""
    made = copy.deepcopy(assertion)
    made.set("ID", "_forged")
    made.remove(made.find(f"{D}Signature"))
    made.find(f"{A}Subject/{A}NameID").text = "root"
    return made


def before(root, signed):
    root.insert(root.index(signed), forged(signed))


def after(root, signed):
    root.append(forged(signed))


def in_extensions(root, signed):
    root.replace(signed, forged(signed))
    extensions = etree.Element(f"{P}Extensions")
    extensions.append(signed)
    root.insert(1, extensions)


def in_its_own_signature(root, signed, name="_forged"):
    made, signature = forged(signed), signed.find(f"{D}Signature")
    made.set("ID", name)
    root.replace(signed, made)
    made.insert(1, signature)
    etree.SubElement(signature, f"{D}Object").append(signed)


def in_its_own_signature_by_the_same_id(root, signed):
    in_its_own_signature(root, signed, signed.get("ID"))


def in_advice(root, signed):
    made = forged(signed)
    root.replace(signed, made)
    advice = etree.Element(f"{A}Advice")
    advice.append(signed)
    made.find(f"{A}Conditions").addnext(advice)


def the_signature_alone(root, signed):
    made = forged(signed)
    made.insert(1, copy.deepcopy(signed.find(f"{D}Signature")))
    root.replace(signed, made)


def the_signature_alone_by_the_same_id(root, signed):
    the_signature_alone(root, signed)
    root.find(f"{A}Assertion").set("ID", signed.get("ID"))


def around_the_whole_response(root, signed):
    inner = copy.deepcopy(root)
    before(root, signed)
    root.remove(signed)
    root.find(f"{A}Assertion").insert(1, copy.deepcopy(signed.find(f"{D}Signature")))
    extensions = etree.Element(f"{P}Extensions")
    extensions.append(inner)
    root.insert(1, extensions)


def under_another_attribute(root, signed):
    """The forged one takes the id, the signed one keeps it as xmlsec might find it too."""
    made = forged(signed)
    made.set("ID", signed.get("ID"))
    made.insert(1, signed.find(f"{D}Signature"))
    signed.set("Id", signed.attrib.pop("ID"))
    made.append(signed)
    root.append(made)


WRAPPINGS = {
    before: "more than one assertion",
    after: "more than one assertion",
    in_extensions: "more than one assertion",
    in_its_own_signature: "more than one assertion",
    in_its_own_signature_by_the_same_id: "an id is used twice",
    in_advice: "more than one assertion",
    the_signature_alone: "does not cover what holds it",
    the_signature_alone_by_the_same_id: "Failed to verify signature",
    around_the_whole_response: "an id is used twice",
    under_another_attribute: "an id is used twice",
}


@pytest.mark.parametrize("wrap, why", WRAPPINGS.items(), ids=[each.__name__ for each in WRAPPINGS])
def test_signature_wrapping(client, idp, saml, caplog, wrap, why):
    root = etree.fromstring(idp.answer(vireo(client, saml), start(client, saml)))
    wrap(root, root.find(f"{A}Assertion"))
    assert refused(client, post(client, saml, etree.tostring(root)), UNCONFIRMED)
    assert why in caplog.text


# --- What parsers read differently


def test_a_comment_inside_the_name(client, idp, saml, caplog):
    """The signature stays good, for comments are not signed; a reader of the first text node alone would see root."""
    document = idp.answer(vireo(client, saml), start(client, saml), name="root.evil.example")
    document = document.replace(b">root.evil.example<", b">root<!-- -->.evil.example<")
    assert b"<!-- -->" in document
    assert refused(client, post(client, saml, document), UNASKED)
    assert "comments" in caplog.text


@pytest.mark.parametrize(
    "declared, used",
    [
        ('<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">', "&c;"),
        ('<!ENTITY who SYSTEM "file:///etc/hostname">', "&who;"),
        ('<!ENTITY who SYSTEM "http://127.0.0.1:1/">', "&who;"),
        ('<!ENTITY % all SYSTEM "http://127.0.0.1:1/all.dtd"> %all;', "root"),
        ("", "root"),
    ],
)
def test_entities(client, idp, saml, caplog, declared, used):
    document = idp.answer(vireo(client, saml), start(client, saml)).decode()
    document = document[document.index("?>") + 2 :] if document.startswith("<?xml") else document
    bomb = f"<!DOCTYPE r [{declared}]>{document.replace('>alice<', f'>{used}<', 1)}"
    assert refused(client, post(client, saml, bomb.encode()), UNASKED)
    assert "DTD" in caplog.text or "no XML" in caplog.text
    with pytest.raises(metadata.BadMetadata, match="cannot be read"):
        metadata.read(f"<!DOCTYPE r [{declared}]>{idp.metadata().split('?>')[-1]}")


def test_a_bomb_of_entities_is_not_even_unpacked(client, saml):
    names = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE r [<!ENTITY e0 "ha">{names}]><r a="&e11;">&e11;</r>'
    assert refused(client, post(client, saml, bomb.encode()), UNASKED)


@pytest.mark.parametrize("document", [b"", b"nonsense", b"<a/>", b"\xff\xfe<\x00a\x00", b"<a>" * 40_000, b"<a>" * 200_000])
def test_nonsense(client, saml, document):
    assert refused(client, post(client, saml, document), UNASKED)


def test_an_answer_in_no_base64(client, saml):
    for sent in ({}, {"SAMLResponse": "%%%"}, {"SAMLResponse": "ä"}, {"SAMLResponse": "A" * 500_000}):
        answer = client.post(f"/sign-in/saml/{saml.pk}/answer/", sent)
        assert refused(client, client.get(answer.headers["Location"]), UNASKED)


@pytest.mark.parametrize("query", ["", "?code=", "?code=x", "?code=%20%0a", f"?code={'x' * 65}", "?code=ä"])
def test_codes_that_nobody_gave(client, saml, query):
    start(client, saml)
    assert refused(client, client.get(f"/sign-in/saml/{saml.pk}/return/{query}"), UNASKED)


# --- To which question


def test_an_answer_to_a_question_that_nobody_asked(client, idp, saml):
    def change(response):
        response.in_response_to = confirmation(response).in_response_to = "_unknown"

    assert refused(client, sign_in(client, idp, saml, change=change), UNASKED)


def test_an_unsolicited_answer(client, idp, saml):
    def change(response):
        response.in_response_to = confirmation(response).in_response_to = None

    assert refused(client, sign_in(client, idp, saml, change=change), UNASKED)


def test_an_answer_to_another_browsers_question(client, idp, saml):
    """Nobody can be signed in as the attacker, who answers their own question in the victim's browser."""
    document = idp.answer(vireo(client, saml), start(Client(), saml))
    assert refused(client, post(client, saml, document), UNASKED)
    start(client, saml)
    assert refused(client, post(client, saml, document), UNASKED)


def test_an_answer_of_one_provider_to_a_question_to_another(client, idp, saml, stranger):
    theirs = IdentityProvider.objects.create(kind="saml", name="Theirs", enabled=True, settings=metadata.read(stranger.metadata()))
    document = stranger.answer(vireo(client, theirs), start(client, theirs))
    assert refused(client, post(client, saml, document), UNASKED)


def test_an_old_question(client, idp, saml, monkeypatch):
    address = start(client, saml)
    monkeypatch.setattr(pending, "MINUTES", 0)
    assert refused(client, post(client, saml, idp.answer(vireo(client, saml), address)), UNASKED)


# --- Twice


class TestTwice:
    @pytest.fixture(autouse=True)
    def nobody_came_in(self):
        """Here somebody does, the first time."""

    def test_the_same_answer(self, client, idp, saml):
        document = idp.answer(vireo(client, saml), start(client, saml))
        post(client, saml, document)
        assert is_in(client)
        client.logout()
        assert refused(client, post(client, saml, document), UNASKED)
        start(client, saml)
        assert refused(client, post(client, saml, document), UNASKED)

    def test_the_same_code(self, client, idp, saml):
        back = post(client, saml, idp.answer(vireo(client, saml), start(client, saml)))
        assert back.status_code == 302
        address = f"{back.wsgi_request.path}?{back.wsgi_request.META['QUERY_STRING']}"
        client.logout()
        assert refused(client, client.get(address), UNASKED)

    def test_the_same_assertion_id_for_another_question(self, client, idp, saml, caplog):
        def change(response):
            assertion_of(response).id = "_the-same"

        sign_in(client, idp, saml, change=change)
        assert is_in(client)
        client.logout()
        assert refused(client, sign_in(client, idp, saml, change=change), UNCONFIRMED)
        assert "the assertion was used before" in caplog.text

    def test_the_same_assertion_whoever_asks(self, client, idp, saml):
        """Past all that keeps questions apart: the assertion itself is good once."""
        address = start(client, saml)
        document = idp.answer(vireo(client, saml), address)
        name = etree.fromstring(document).get("InResponseTo")
        root = f"http://testserver/sign-in/saml/{saml.pk}"
        ours = exchange.Self(f"{root}/metadata/", f"{root}/answer/")
        assert exchange.answer(saml, ours, name, document).username == "alice"
        with pytest.raises(DirectoryProblem) as refusal:
            exchange.answer(saml, ours, name, document)
        assert refusal.value.cause == "the assertion was used before"
