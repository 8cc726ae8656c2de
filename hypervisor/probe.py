"""Knock at a host's door before libvirt does.

virConnectOpen has no time limit: with a libvirtd that accepts and never answers it hangs for good, and it reports a refused
certificate as an input/output error. A handshake of our own has a limit, and knows the difference.
"""

import socket
import ssl
import time
from pathlib import Path

from .address import HostAddress
from .errors import CallTimeout, CertificateRefused, HostUnreachable


def _context(pki_dir: str) -> ssl.SSLContext:
    pki = Path(pki_dir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Names are libvirt's to check, right after this; here only the chain counts.
    context.check_hostname = False
    context.load_verify_locations(pki / "cacert.pem")
    context.load_cert_chain(pki / "clientcert.pem", pki / "clientkey.pem")
    return context


def probe(address: HostAddress, timeout: float) -> None:
    """Return when the host is worth a virConnectOpen.

    Args:
        timeout: seconds for all of it.

    Raises:
        CallTimeout, CertificateRefused, HostUnreachable.
    """
    if not address.host or not address.port:
        return
    deadline = time.monotonic() + timeout
    try:
        with socket.create_connection((address.host, address.port), timeout=timeout) as plain:
            if address.transport == "tls" and address.pki_dir:
                _shake_hands(address, plain, deadline)
    except TimeoutError:
        raise CallTimeout(f"{address.host} does not answer within {timeout:.3g} s") from None
    except OSError as error:
        raise HostUnreachable(f"{address.host} port {address.port}: {error.strerror or error}") from None


def _shake_hands(address: HostAddress, plain: socket.socket, deadline: float) -> None:
    try:
        context = _context(address.pki_dir)
    except (OSError, ssl.SSLError) as error:
        raise CertificateRefused(f"our own certificates in {address.pki_dir} cannot be used: {error}") from None
    try:
        plain.settimeout(max(0.05, deadline - time.monotonic()))
        with context.wrap_socket(plain, server_hostname=address.host) as secure:
            secure.settimeout(max(0.05, deadline - time.monotonic()))
            # libvirtd sends one byte when it accepts our certificate, and hangs up when it does not.
            if secure.recv(1) != b"\1":
                raise CertificateRefused(f"{address.host} refused our certificate")
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(f"the certificate of {address.host} is not signed by our CA: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise CertificateRefused(f"{address.host} ended the TLS handshake: {error.reason or error}") from None
    except ConnectionError:
        raise CertificateRefused(f"{address.host} refused our certificate") from None
