"""What providers and we tell each other of ourselves: their metadata are read into three plain settings, ours are written from none."""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import quoteattr  # nosec B406 # it writes, and parses nothing

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from accounts.directory.oidc import is_good_url
from accounts.directory.saml.document import DS, BadDocument, parse

MD = "urn:oasis:names:tc:SAML:2.0:metadata"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
MOST_BYTES = 1024 * 1024
MOST_CERTIFICATES = 8
SOON = timedelta(days=30)


class BadMetadata(ValueError):
    """The text is a sentence for who pasted them."""


def read(text: str) -> dict[str, object]:
    """entity_id, sso_url and certificates (PEM) of the one identity provider in these metadata. Raises BadMetadata."""
    try:
        root = parse(re.sub(r"<!--.*?-->", "", text.strip(), flags=re.DOTALL).encode(), MOST_BYTES)
    except BadDocument as error:
        raise BadMetadata(f"These metadata cannot be read: {error}.") from None
    found = [(entity, idp) for entity in root.iter(f"{{{MD}}}EntityDescriptor") for idp in entity.findall(f"{{{MD}}}IDPSSODescriptor")]
    if not found:
        raise BadMetadata("These metadata describe no identity provider: there is no IDPSSODescriptor in them.")
    if len(found) > 1:
        raise BadMetadata("These metadata describe several identity providers. Paste those of one.")
    entity, idp = found[0]
    if not entity.get("entityID"):
        raise BadMetadata("The provider has no entityID.")
    if idp.get("WantAuthnRequestsSigned", "").strip() in ("true", "1"):
        raise BadMetadata("The provider wants signed requests (WantAuthnRequestsSigned), which Vireo does not send. Switch that off there.")
    addresses = [each.get("Location") for each in idp.findall(f"{{{MD}}}SingleSignOnService") if each.get("Binding") == REDIRECT]
    if not addresses:
        raise BadMetadata("The provider offers no SingleSignOnService with the binding HTTP-Redirect.")
    keys = [key for key in idp.findall(f"{{{MD}}}KeyDescriptor") if key.get("use", "signing") == "signing"]
    certificates = [each.text or "" for key in keys for each in key.iter(f"{{{DS}}}X509Certificate")]
    if not certificates:
        raise BadMetadata("The provider shows no certificate that it signs with.")
    return {"entity_id": entity.get("entityID"), "sso_url": good_address(addresses[0]), "certificates": read_certificates(*certificates)}


def good_address(url: object) -> str:
    if not is_good_url(url):
        raise BadMetadata("The provider's sign-in address does not begin with https://.")
    return str(url)


def read_certificates(*texts: str) -> str:
    """Certificates, each PEM or bare Base64, as PEM. Raises BadMetadata for one that no signature should be trusted by."""
    found = [_read_certificate(body) for text in texts for body in _bodies(text)]
    if not found or len(found) > MOST_CERTIFICATES:
        raise BadMetadata(f"There must be one certificate, and no more than {MOST_CERTIFICATES}.")
    for each in found:
        _require_strong(each)
    return "".join(dict.fromkeys(each.public_bytes(Encoding.PEM).decode() for each in found))


def _bodies(text: str) -> list[str]:
    return re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.DOTALL) or [text]


def _read_certificate(body: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(base64.b64decode("".join(body.split()), validate=True))
    except (ValueError, binascii.Error):
        raise BadMetadata("A certificate of the provider cannot be read.") from None


def _require_strong(certificate: x509.Certificate) -> None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):  # a key of a kind that the library does not know
        key = None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        raise BadMetadata(f"The provider's key has {key.key_size} bits. It must have at least 2048.")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise BadMetadata("The provider's key is of a kind that is not accepted here: it must be RSA or an elliptic curve.")


def bodies(certificates: str) -> list[str]:
    """Stored certificates as XML writes them: Base64 alone."""
    return ["".join(body.split()) for body in _bodies(certificates)]


def warnings(certificates: str) -> list[str]:
    """What an administrator should know of these certificates."""
    now, said = datetime.now(UTC), []
    for each in map(_read_certificate, _bodies(certificates)):
        ends = f"{each.not_valid_after_utc:%Y-%m-%d}"
        if each.not_valid_after_utc < now:
            said.append(f"A certificate of the provider expired on {ends}; ask for its new metadata.")
        elif each.not_valid_after_utc < now + SOON:
            said.append(f"A certificate of the provider expires on {ends}.")
        elif each.not_valid_before_utc > now:
            said.append(f"A certificate of the provider is good only from {each.not_valid_before_utc:%Y-%m-%d} on.")
    return said


def described(certificates: str) -> list[str]:
    """Whose each certificate is, until when it is good, and the fingerprint by which the provider's administrator knows it."""
    return [
        f"{each.subject.rfc4514_string() or 'no name'}, good until {each.not_valid_after_utc:%Y-%m-%d}, "
        f"SHA-256 {each.fingerprint(hashes.SHA256()).hex(' ', 4).upper()}"
        for each in map(_read_certificate, _bodies(certificates))
    ]


def of_provider(entity_id: str, sso_url: str, certificates: str) -> str:
    """Metadata of a provider as the library takes them, of our settings alone: nothing of what was pasted gets this far."""
    keys = "".join(
        f'<KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data><ds:X509Certificate>{body}</ds:X509Certificate></ds:X509Data>'
        "</ds:KeyInfo></KeyDescriptor>"
        for body in bodies(certificates)
    )
    return (
        f'<EntityDescriptor xmlns="{MD}" entityID={quoteattr(entity_id)}><IDPSSODescriptor protocolSupportEnumeration="{PROTOCOL}">{keys}'
        f'<SingleSignOnService Binding="{REDIRECT}" Location={quoteattr(sso_url)}/></IDPSSODescriptor></EntityDescriptor>'
    )


def of_vireo(entity_id: str, answer_url: str) -> str:
    """What a provider has to know of us."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<EntityDescriptor xmlns="{MD}" entityID={quoteattr(entity_id)}>'
        f'<SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" protocolSupportEnumeration="{PROTOCOL}">'
        f'<AssertionConsumerService Binding="{POST}" Location={quoteattr(answer_url)} index="0" isDefault="true"/>'
        "</SPSSODescriptor></EntityDescriptor>\n"
    )
