"""Vireo's own certificate authority, with which hosts and Vireo know each other.

RSA throughout: libvirt 9.0 refuses ECDSA certificates ("usage does not permit key encipherment"). The CA's key never
leaves its directory; a host's key never leaves the host when it enrols with a request of its own.
"""

import fcntl
import ipaddress
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS = 3072
CA_YEARS, HOST_YEARS = 20, 5
CLOCK_SKEW = timedelta(minutes=10)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, as PEM."""

    cert_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "KeyPair(…)"


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    """Atomically, so that a reader sees the whole file or none."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def _alternative_names(name: str, addresses: Iterable[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    for address in addresses:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            if address != name:
                names.append(x509.DNSName(address))
    return x509.SubjectAlternativeName(names)


class CertificateAuthority:
    """The CA in one directory: `cakey.pem` (0600), `cacert.pem`, and `client/` with Vireo's own certificate."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)

    @property
    def _key_path(self) -> Path:
        return self.directory / "cakey.pem"

    @property
    def _cert_path(self) -> Path:
        return self.directory / "cacert.pem"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Several processes may want the same files for the first time at once."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def ensure(self) -> None:
        """Makes the CA on first use; cheap afterwards."""
        if self._cert_path.exists():
            return
        with self._locked():
            if self._cert_path.exists():
                return
            key = _new_key()
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Vireo CA")])
            usage = x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            )
            certificate = (
                self._draft(name, name, key.public_key(), CA_YEARS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .sign(key, hashes.SHA256())
            )
            _write(self._key_path, _key_pem(key), 0o600)
            _write(self._cert_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    @staticmethod
    def _draft(subject: x509.Name, issuer: x509.Name, public_key: rsa.RSAPublicKey, years: int) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + timedelta(days=365 * years))
        )

    @property
    def ca_pem(self) -> bytes:
        self.ensure()
        return self._cert_path.read_bytes()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA's certificate, in pairs of hex digits, as openssl prints it."""
        digest = x509.load_pem_x509_certificate(self.ca_pem).fingerprint(hashes.SHA256())
        return digest.hex(":").upper()

    def _sign(self, public_key: rsa.RSAPublicKey, name: str, addresses: Iterable[str], usages: list[x509.ObjectIdentifier]) -> bytes:
        self.ensure()
        issuer = x509.load_pem_x509_certificate(self._cert_path.read_bytes())
        issuer_key = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
        assert isinstance(issuer_key, rsa.RSAPrivateKey)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_encipherment=True,
            key_cert_sign=False,
            crl_sign=False,
            content_commitment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._draft(subject, issuer.subject, public_key, HOST_YEARS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_alternative_names(name, addresses), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def issue_host(self, name: str, addresses: Iterable[str]) -> KeyPair:
        """A host's certificate, good as server and as client (hosts talk to each other when a VM migrates)."""
        key = _new_key()
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return KeyPair(self._sign(key.public_key(), name, addresses, usages), _key_pem(key))

    def issue_client(self, name: str) -> KeyPair:
        """A certificate with which Vireo itself, or an administrator's virsh, opens hosts."""
        key = _new_key()
        return KeyPair(self._sign(key.public_key(), name, [], [ExtendedKeyUsageOID.CLIENT_AUTH]), _key_pem(key))

    def sign_csr(self, csr_pem: bytes, name: str, addresses: Iterable[str]) -> bytes:
        """A host's certificate for the key of its request. The request's own names are ignored: only what was approved goes in.

        Raises:
            ValueError: no request, not signed by its key, or not an RSA key of at least 2048 bits.
        """
        request = x509.load_pem_x509_csr(csr_pem)
        public_key = request.public_key()
        if not request.is_signature_valid:
            raise ValueError("the certificate request is not signed by its own key")
        if not isinstance(public_key, rsa.RSAPublicKey) or public_key.key_size < 2048:
            raise ValueError("the certificate request must carry an RSA key of at least 2048 bits")
        return self._sign(public_key, name, addresses, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])

    def client_dir(self) -> Path:
        """The directory that libvirt's `pkipath=` takes: CA, and Vireo's client certificate and key, made on first use."""
        directory = self.directory / "client"
        if (directory / "clientcert.pem").exists():
            return directory
        self.ensure()
        with self._locked():
            if not (directory / "clientcert.pem").exists():
                directory.mkdir(mode=0o700, exist_ok=True)
                pair = self.issue_client("vireo")
                _write(directory / "cacert.pem", self.ca_pem, 0o644)
                _write(directory / "clientkey.pem", pair.key_pem, 0o600)
                _write(directory / "clientcert.pem", pair.cert_pem, 0o644)
        return directory
