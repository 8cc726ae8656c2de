"""A real SAML 2.0 provider: pysaml2's own, with a key of its own, signing by xmlsec1. Its answers can be changed before it signs them."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, class_name
from saml2.authn_context import PASSWORD
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_UNSPECIFIED, NameID
from saml2.samlp import response_from_string
from saml2.server import Server
from saml2.sigver import pre_signature_part, signed_instance_factory
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

ALICE = {"uid": ["alice"], "displayName": ["Alice Example"], "mail": ["alice@example.org"], "groups": ["staff", "developers"]}
SSO = "https://login.example.org/sso"
Change = Callable[[Any], object]


def moment(minutes: float = 0) -> str:
    """A time as SAML writes it, so many minutes from now."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def assertion_of(response: Any) -> Any:
    """The one assertion in a response that was made or read."""
    return response.assertion[0] if isinstance(response.assertion, list) else response.assertion


def confirmation(response: Any) -> Any:
    """For whom, until when and in answer to what its assertion is."""
    return assertion_of(response).subject.subject_confirmation[0].subject_confirmation_data


def make_key(directory: Path, name: str, days: int = 365) -> tuple[str, str]:
    """The files of an RSA key and its own certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    who, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=days)).sign(key, hashes.SHA256())
    )  # fmt: skip
    files = directory / f"{name}.key", directory / f"{name}.crt"
    files[0].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    files[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return str(files[0]), str(files[1])


class Provider:
    """Attributes: entity_id, certificate: what it tells of itself."""

    def __init__(self, entity_id: str = "https://login.example.org/metadata", name: str = "login.example.org") -> None:
        self.entity_id = entity_id
        self._directory = tempfile.TemporaryDirectory()
        self._key, self._certificate = make_key(Path(self._directory.name), name)
        self.certificate = Path(self._certificate).read_text()

    def remove(self) -> None:
        self._directory.cleanup()

    def _settings(self, **more: Any) -> dict[str, Any]:
        service = {
            "endpoints": {"single_sign_on_service": [(SSO, BINDING_HTTP_REDIRECT)]},
            "policy": {"default": {"lifetime": {"minutes": 5}}},
        }
        return {"entityid": self.entity_id, "key_file": self._key, "cert_file": self._certificate, "service": {"idp": service}} | more

    def metadata(self) -> str:
        """What an administrator pastes."""
        return str(entity_descriptor(IdPConfig().load(self._settings())))

    def answer(
        self,
        vireo: str,
        address: str,
        name: str = "alice",
        identity: dict[str, list[str]] = ALICE,
        change: Change = lambda response: None,
        sign: bool = True,
        algorithms: tuple[str, str] = (SIG_RSA_SHA256, DIGEST_SHA256),
    ) -> bytes:
        """The response to the question in `address`, changed and then signed. `vireo`: the metadata by which it knows Vireo."""
        server = Server(config=IdPConfig().load(self._settings(metadata={"inline": [vireo]})))
        try:
            asked = server.parse_authn_request(parse_qs(urlsplit(address).query)["SAMLRequest"][0], BINDING_HTTP_REDIRECT).message
            options = server.response_args(asked, [BINDING_HTTP_POST])
            options["name_id"] = NameID(format=NAMEID_FORMAT_UNSPECIFIED, text=name)
            options.pop("name_id_policy", None)
            response = server.create_authn_response(
                identity, authn={"class_ref": PASSWORD}, sign_response=False, sign_assertion=False, encrypt_assertion=False, **options
            )
            if isinstance(response, str):
                response = response_from_string(response)
            change(response)
            assertion = assertion_of(response)
            if not sign:
                return str(response).encode()
            assertion.signature = pre_signature_part(assertion.id, server.sec.my_cert, 1, sign_alg=algorithms[0], digest_alg=algorithms[1])
            return str(signed_instance_factory(response, server.sec, [(class_name(assertion), assertion.id)])).encode()
        finally:
            server.close()
