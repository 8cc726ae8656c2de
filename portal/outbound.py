"""Requests to addresses that users name: webhooks, images. The one guard against reaching what only the server can reach.

A name is resolved once; the connection goes to an address that was checked, so that a name server which answers differently
the next time changes nothing. Host header and TLS name stay those of the URL. Redirects are not followed, proxies of the
environment are not used, and neither size nor time is the other side's to choose.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

import urllib3
from django.conf import settings
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse
from urllib3.util.ssl_match_hostname import CertificateError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
MOST_BYTES = 64 * 1024
LONGEST_URL = 2000
_CHUNK = 16 * 1024
# What Python counts as global and is yet no one's server on the Internet: Azure's metadata, translations to IPv4 addresses,
# and ranges that were given up.
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2002::/16", "2001::/23", "64:ff9b:1::/48", "fec0::/10", "::/96")
)
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


class OutboundError(Exception):
    """The request failed; the text is for the person who named the URL, and never holds the URL's path."""


class Forbidden(OutboundError):
    """The URL leads where requests must not go, or is no URL. Trying again changes nothing."""


@dataclass(frozen=True)
class Target:
    """A URL taken apart. `path` has the query with it; `host` is without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """Args: body: at most as many bytes as were asked for; what came after is not read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_PORTS = {"http": 80, "https": 443}


def parse(url: str) -> Target:
    """Raises Forbidden for anything but a plain http or https URL."""
    if len(url) > LONGEST_URL or any(ord(character) <= 32 or ord(character) == 127 for character in url) or "\\" in url:
        raise Forbidden("This is no URL.")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else parts.hostname or ""
    except (ValueError, UnicodeError):
        raise Forbidden("This is no URL.") from None
    if parts.scheme not in _PORTS:
        raise Forbidden("The URL must begin with http:// or https://.")
    if not host:
        raise Forbidden("The URL names no host.")
    if parts.username is not None or parts.password is not None:
        raise Forbidden("The URL must not hold a user name or a password.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, path)


def is_permitted(address: Address) -> bool:
    """True for an address on the public Internet, and for what VIREO_OUTBOUND_ALLOWED opens."""
    plain = _unwrapped(address)
    if any(plain.version == network.version and plain in network for network in map(ipaddress.ip_network, settings.OUTBOUND_ALLOWED)):
        return True
    if not plain.is_global or plain.is_multicast or plain.is_reserved or plain.is_loopback or plain.is_link_local or plain.is_unspecified:
        return False
    return not any(plain.version == network.version and plain in network for network in _REFUSED)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that the system, or a gateway, would turn into it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def resolve(target: Target) -> str:
    """An address of the target that may be reached.

    Raises:
        Forbidden: every address of the name is refused.
        OutboundError: the name has no address.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OutboundError(f"The name {target.host} has no address.") from None
    for *_, sockaddr in found:
        text = str(sockaddr[0])
        if is_permitted(ipaddress.ip_address(text)):
            return text
    raise Forbidden(f"{target.host} lies in a network that requests from here must not reach. An administrator can permit it.")


def check(url: str) -> Target:
    """What a form asks when the URL is written down: its shape, and an address written in it. Names are judged when they are used."""
    target = parse(url)
    try:
        address = ipaddress.ip_address(target.host)
    except ValueError:
        return target
    if not is_permitted(address):
        raise Forbidden(f"{target.host} lies in a network that requests from here must not reach. An administrator can permit it.")
    return target


class _Deadline:
    """Ends a connection when its time is over, whatever trickles in meanwhile."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self.over = seconds, False
        self._until = time.monotonic() + seconds
        self._timer: threading.Timer | None = None

    def guard(self, sock: socket.socket) -> None:
        """Of the socket itself: a connection forgets it once the answer's head is read."""

        def end() -> None:
            self.over = True
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it ended by itself

        self._timer = threading.Timer(max(0.0, self._until - time.monotonic()), end)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        if self.over or time.monotonic() > self._until:
            raise OutboundError(f"It took longer than {self._seconds:g} seconds.")


@contextmanager
def opened(
    method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None, seconds: float = TOTAL_SECONDS
) -> Iterator[BaseHTTPResponse]:
    """A response whose body is still to be read, as it comes over the wire (nothing is decompressed).

    Args:
        seconds: for everything together, reading included.

    Raises:
        Forbidden, OutboundError: also from inside the block, when reading fails.
    """
    target = parse(url)
    deadline = _Deadline(seconds)
    connection = _connection(target, resolve(target), min(CONNECT_SECONDS, seconds))
    try:
        connection.connect()
        deadline.guard(connection.sock)
        sent = {"Host": target.authority, "User-Agent": "Vireo", "Accept-Encoding": "identity", "Connection": "close"} | dict(headers or {})
        connection.request(method, target.path, body=body, headers=sent, preload_content=False, decode_content=False)
        yield connection.getresponse()
        deadline.check()
    except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
        deadline.check()
        raise OutboundError(_words(error, target)) from error
    finally:
        deadline.cancel()
        connection.close()


def request(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = TOTAL_SECONDS,
    most_bytes: int = MOST_BYTES,
) -> Answer:
    """Sends one request and reads the answer up to `most_bytes`. Raises what `opened` raises."""
    with opened(method, url, body=body, headers=headers, seconds=seconds) as response:
        read = b""
        while len(read) < most_bytes and (chunk := response.read(min(_CHUNK, most_bytes - len(read)))):
            read += chunk
        return Answer(response.status, dict(response.headers), read)


def _connection(target: Target, address: str, seconds: float) -> HTTPConnection:
    if target.scheme == "http":
        return HTTPConnection(address, target.port, timeout=seconds)
    context = ssl.create_default_context()
    return HTTPSConnection(
        address, target.port, timeout=seconds, ssl_context=context, server_hostname=target.host, assert_hostname=target.host
    )


def _words(error: Exception, target: Target) -> str:
    """What went wrong, in a sentence that names the host and no more of the URL."""
    where = target.authority
    if isinstance(error, ssl.SSLCertVerificationError | CertificateError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return f"The certificate of {where} is not valid."
    if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():  # urllib3 counts this among its timeouts
        return f"{where} refused the connection."
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError | TimeoutError | urllib3.exceptions.ReadTimeoutError):
        return f"{where} did not answer in time."
    if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError):
        return f"No TLS connection to {where} came about."
    return f"{where} could not be reached, or its answer broke off."
