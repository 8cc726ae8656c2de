"""Vireo's CA: made once, kept to ourselves, and signing only what was approved."""

import subprocess
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hosts.pki import CertificateAuthority


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("pki"))


def _names(cert_pem: bytes) -> tuple[list[str], list[str]]:
    found = x509.load_pem_x509_certificate(cert_pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName), [str(address) for address in found.get_values_for_type(x509.IPAddress)]


def _usages(cert_pem: bytes) -> set[x509.ObjectIdentifier]:
    return set(x509.load_pem_x509_certificate(cert_pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def _request(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, name: str = "evil.example", address: str = "203.0.113.9") -> bytes:
    wanted = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address(address))])
    draft = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    return draft.add_extension(wanted, critical=False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_ca_is_made_once_even_by_many_at_once(tmp_path: Path) -> None:
    seen: set[bytes] = set()

    def ask() -> None:
        seen.add(
            CertificateAuthority(tmp_path / "pki").ca_pem
            + (CertificateAuthority(tmp_path / "pki").client_dir() / "clientcert.pem").read_bytes()
        )

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1


def test_keys_are_readable_by_us_alone_and_nothing_half_written_stays(ca: CertificateAuthority) -> None:
    directory = ca.client_dir()
    for key in (ca.directory / "cakey.pem", directory / "clientkey.pem"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in directory.iterdir()) == ["cacert.pem", "clientcert.pem", "clientkey.pem"]
    assert sorted(path.name for path in ca.directory.iterdir()) == [".lock", "cacert.pem", "cakey.pem", "client"]


def test_a_second_start_uses_the_same_ca(ca: CertificateAuthority) -> None:
    ca.ensure()
    before = ca.ca_pem
    CertificateAuthority(ca.directory).ensure()
    assert CertificateAuthority(ca.directory).ca_pem == before


def test_host_certificate_carries_its_name_and_addresses_for_both_roles(ca: CertificateAuthority) -> None:
    pair = ca.issue_host("node1", ["10.0.0.5", "fd00::5", "node1.example.org"])
    assert _names(pair.cert_pem) == (["node1", "node1.example.org"], ["10.0.0.5", "fd00::5"])
    assert _usages(pair.cert_pem) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    key = serialization.load_pem_private_key(pair.key_pem, None)
    certificate = x509.load_pem_x509_certificate(pair.cert_pem)
    assert isinstance(key, rsa.RSAPrivateKey), "libvirt 9.0 takes no other"
    assert key.public_key() == certificate.public_key()
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_client_certificate_opens_hosts_and_is_none(ca: CertificateAuthority) -> None:
    assert _usages(ca.issue_client("vireo").cert_pem) == {ExtendedKeyUsageOID.CLIENT_AUTH}


def test_certificates_hold_by_openssl_and_those_of_another_ca_do_not(ca: CertificateAuthority, tmp_path: Path) -> None:
    (tmp_path / "node.pem").write_bytes(ca.issue_host("node1", ["10.0.0.5"]).cert_pem)
    other = CertificateAuthority(tmp_path / "other")
    other.ensure()

    def verify(authority: CertificateAuthority, *more: str) -> int:
        file = authority.directory / "cacert.pem"
        return subprocess.run(["openssl", "verify", *more, "-CAfile", file, tmp_path / "node.pem"], capture_output=True).returncode

    assert verify(ca, "-x509_strict", "-purpose", "sslserver", "-verify_ip", "10.0.0.5") == 0
    assert verify(ca, "-verify_ip", "10.0.0.6") != 0
    assert verify(other) != 0


def test_certificates_are_valid_now_on_clocks_that_lag_and_for_years(ca: CertificateAuthority) -> None:
    now = datetime.now(UTC)
    for pem, years in ((ca.ca_pem, 19), (ca.issue_client("vireo").cert_pem, 4)):
        certificate = x509.load_pem_x509_certificate(pem)
        assert certificate.not_valid_before_utc < now - timedelta(minutes=5)
        assert certificate.not_valid_after_utc > now + timedelta(days=365 * years)


def test_request_gets_what_was_approved_and_not_what_it_asks_for(ca: CertificateAuthority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    signed = ca.sign_csr(_request(key), "node7", ["10.0.0.7"])
    certificate = x509.load_pem_x509_certificate(signed)
    assert _names(signed) == (["node7"], ["10.0.0.7"])
    assert certificate.subject.rfc4514_string() == "CN=node7"
    assert certificate.public_key() == key.public_key()
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_request_with_a_key_that_libvirt_refuses_or_a_weak_one_is_refused(ca: CertificateAuthority) -> None:
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)):
        with pytest.raises(ValueError, match="RSA key of at least 2048 bits"):
            ca.sign_csr(_request(key), "node7", ["10.0.0.7"])


def test_request_that_was_tampered_with_or_is_none_is_refused(ca: CertificateAuthority) -> None:
    request = x509.load_pem_x509_csr(_request(rsa.generate_private_key(65537, 2048)))
    changed = request.public_bytes(serialization.Encoding.DER).replace(b"evil.example", b"good.example")
    pem = x509.load_der_x509_csr(changed).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(ValueError, match="not signed by its own key"):
        ca.sign_csr(pem, "node7", ["10.0.0.7"])
    for rubbish in (b"", b"hello", ca.ca_pem):
        with pytest.raises(ValueError):
            ca.sign_csr(rubbish, "node7", ["10.0.0.7"])


def test_fingerprint_is_what_openssl_prints(ca: CertificateAuthority) -> None:
    command = ["openssl", "x509", "-in", ca.directory / "cacert.pem", "-noout", "-fingerprint", "-sha256"]
    ca.ensure()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("=")[1] == ca.fingerprint


def test_a_pair_does_not_show_its_key(ca: CertificateAuthority) -> None:
    pair = ca.issue_client("vireo")
    assert "PRIVATE" not in repr(pair)
    assert "PRIVATE" not in f"{[pair]}"
