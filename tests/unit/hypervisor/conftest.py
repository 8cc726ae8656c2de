"""Hosts of libvirt's test driver, each with a world of its own, and certificates for servers that misbehave."""

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from hypervisor.address import HostAddress
from hypervisor.links import HostLink

NODE = """<node><cpu><mhz>2000</mhz><model>lab</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores>
<threads>1</threads></cpu><memory>4194304</memory></node>"""


@pytest.fixture
def test_host(tmp_path: Path) -> Iterator[HostLink]:
    """A link to a test driver's host without domains, pools and networks."""
    path = tmp_path / "host.xml"
    path.write_text(NODE)
    link = HostLink(HostAddress.test(str(path)))
    yield link
    link.close()


@pytest.fixture
def make_pki(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a CA and one certificate of it, for both ends, in a directory as libvirt's pkipath wants it."""

    def make(name: str) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        ca = _certificate(f"CA {name}", ca_key, f"CA {name}", ca_key, True)
        certificate = _certificate("localhost", key, f"CA {name}", ca_key, False)
        pem = serialization.Encoding.PEM
        (directory / "cacert.pem").write_bytes(ca.public_bytes(pem))
        (directory / "clientcert.pem").write_bytes(certificate.public_bytes(pem))
        (directory / "clientkey.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        )
        return directory

    return make


def _certificate(subject: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, authority: bool) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
