"""A SAML identity provider: pysaml2's own, with a key of its own, and a hand that can spoil what it signs."""

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from saml2 import BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

ENTITY_ID, SIGN_ON = "https://idp.example.org/saml", "https://idp.example.org/sign-on"
ALICE = {"uid": ["alice"], "displayName": ["Alice Example"], "mail": ["alice@example.org"], "groups": ["staff"]}
PASSWORD_CLASS = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"


class Provider:
    """Answers what a browser brings it; each answer is signed by xmlsec1 with the key that its metadata show."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key, self.certificate = make_key(directory, "idp")

    def _server(self, sp_metadata: str) -> Server:
        config = IdPConfig()
        config.load(
            {
                "entityid": ENTITY_ID,
                "key_file": str(self.key),
                "cert_file": str(self.certificate),
                "metadata": {"inline": [sp_metadata]} if sp_metadata else {},
                "service": {
                    "idp": {
                        "endpoints": {"single_sign_on_service": [(SIGN_ON, BINDING_HTTP_REDIRECT)]},
                        "policy": {"default": {"lifetime": {"minutes": 5}, "attribute_restrictions": None, "name_form": None}},
                    }
                },
            }
        )
        return Server(config=config)

    def metadata(self) -> str:
        return str(entity_descriptor(self._server("").config))

    def answer(self, url: str, sp_metadata: str, identity: dict[str, list[str]] | None = None, lasting: str = "u-1") -> str:
        """The signed response to the question in `url`, as XML."""
        server = self._server(sp_metadata)
        question = server.parse_authn_request(parse_qs(urlsplit(url).query)["SAMLRequest"][0], BINDING_HTTP_REDIRECT).message
        made = server.create_authn_response(
            identity or ALICE,
            question.id,
            question.assertion_consumer_service_url,
            question.issuer.text,
            name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text=lasting),
            authn={"class_ref": PASSWORD_CLASS, "authn_auth": ENTITY_ID},
            sign_assertion=True,
            sign_response=False,
            sign_alg=SIG_RSA_SHA256,
            digest_alg=DIGEST_SHA256,
        )
        return str(made)

    def sign_again(self, xml: str, key: Path | None = None) -> str:
        """The same document after somebody changed it, with a signature that fits what it says now."""
        file = self.directory / "answer.xml"
        file.write_text(xml)
        kind = "urn:oasis:names:tc:SAML:2.0:assertion:Assertion"
        done = subprocess.run(
            ["xmlsec1", "--sign", "--privkey-pem", str(key or self.key), "--id-attr:ID", kind, str(file)], check=True, capture_output=True
        )
        return done.stdout.decode()


def make_key(directory: Path, name: str) -> tuple[Path, Path]:
    """Files of a new key and its certificate."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=90))
    certificate = builder.sign(key, hashes.SHA256())
    paths = directory / f"{name}.key", directory / f"{name}.pem"
    paths[0].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    paths[1].write_bytes(certificate.public_bytes(Encoding.PEM))
    return paths


def as_form(xml: str) -> dict[str, Any]:
    """What the provider's page has the browser post."""
    return {"SAMLResponse": base64.b64encode(xml.encode()).decode(), "RelayState": "https://evil.example/"}
