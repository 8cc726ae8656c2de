"""Requests to addresses that users name: only where they may go, whatever the name server says; against real servers."""

import datetime
import ipaddress
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portal import outbound
from tests.http_server import says, serving

LOCAL = ["127.0.0.0/8"]
PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
    "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "168.63.129.16", "192.88.99.1",
    "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:7f00:1::",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_what_only_the_server_can_reach_is_refused(address):
    assert not outbound.is_permitted(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_internet_is_permitted(address):
    assert outbound.is_permitted(ipaddress.ip_address(address))


def test_a_permitted_network_is_permitted_in_each_of_its_forms(settings):
    settings.OUTBOUND_ALLOWED = ["10.1.2.0/24", "fd00::/64"]
    for address, permitted in {"10.1.2.3": True, "::ffff:10.1.2.3": True, "10.1.3.3": False, "fd00::5": True, "fd01::5": False}.items():
        assert outbound.is_permitted(ipaddress.ip_address(address)) is permitted, address


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
        "127.0.0.1.",
        "①②⑦.0.0.1",
    ],
)
def test_this_machine_is_refused_however_it_is_written_and_sees_no_connection(host):
    with serving() as server:
        with pytest.raises(outbound.OutboundError):
            outbound.request("POST", f"http://{host}:{server.port}/", body=b"x")
        assert server.received == []


@pytest.mark.parametrize(
    "url",
    ["", "ftp://example.org/", "file:///etc/passwd", "gopher://x/", "http://", "http:///x", "//x/", "http://user:pw@example.org/", "http://x:99999/",
     "http://a b/", "http://x/\r\nHost: y", "http://x\\@y/", "http://[::1/", "javascript:alert(1)", "unix:///run/x", "http://" + "a" * 3000],
)  # fmt: skip
def test_what_is_no_plain_http_url_is_refused(url):
    with pytest.raises(outbound.Forbidden):
        outbound.parse(url)


def test_a_form_refuses_a_private_address_and_leaves_names_for_later():
    with pytest.raises(outbound.Forbidden, match="administrator"):
        outbound.check("http://169.254.169.254/latest/meta-data/")
    assert outbound.check("https://hooks.example.org/x?y").host == "hooks.example.org"


def test_host_and_path_arrive_as_written(settings):
    settings.OUTBOUND_ALLOWED = LOCAL
    with serving(says(201, b"made")) as server:
        answer = outbound.request("POST", server.url("/a/b?c=d", host="localhost"), body=b"{}", headers={"X-One": "1"})
    assert (answer.status, answer.body) == (201, b"made")
    (got,) = server.received
    assert (got.method, got.path, got.body) == ("POST", "/a/b?c=d", b"{}")
    assert (got.headers["Host"], got.headers["X-One"]) == (f"localhost:{server.port}", "1")


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(settings, monkeypatch):
    """A name server that says «public» first and «loopback» then, or both at once, gains nothing."""
    settings.OUTBOUND_ALLOWED = ["127.0.0.2/32"]
    real, asked = socket.getaddrinfo, []

    def rebinding(host, port, *rest, **named):
        if host == "rebind.example":
            asked.append(host)
            addresses = ["127.0.0.1", "127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
        return real(host, port, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)  # stands in for a name server of the attacker
    with serving() as server, pytest.raises(outbound.OutboundError, match="refused the connection"):
        outbound.request("GET", server.url(host="rebind.example"))  # goes to 127.0.0.2, where nobody listens
    assert asked == ["rebind.example"]
    assert server.received == []


def test_a_redirect_is_an_answer_and_is_not_followed(settings):
    settings.OUTBOUND_ALLOWED = LOCAL
    with serving() as inner, serving(says(302, Location=inner.url("/secret"))) as outer:
        assert outbound.request("GET", outer.url()).status == 302
    assert inner.received == []


def test_an_answer_is_read_only_so_far(settings):
    settings.OUTBOUND_ALLOWED = LOCAL
    with serving(says(200, b"x" * 500_000)) as server:
        assert len(outbound.request("GET", server.url(), most_bytes=1000).body) == 1000


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_trickles_is_left_when_the_time_is_over(settings, part):
    settings.OUTBOUND_ALLOWED = LOCAL
    ended = threading.Event()

    def trickle(handler):
        if part == "body":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not ended.wait(0.02):
            handler.wfile.write(b"x")

    with serving(trickle) as server:
        with pytest.raises(outbound.OutboundError, match="longer than 0.3 seconds"):
            outbound.request("GET", server.url(), seconds=0.3, most_bytes=10_000_000)
        ended.set()


def test_a_server_that_is_down_is_said_to_be_without_the_urls_path(settings):
    settings.OUTBOUND_ALLOWED = LOCAL
    with serving() as server:
        url = server.url("/secret-token")
    with pytest.raises(outbound.OutboundError, match="refused the connection") as caught:
        outbound.request("GET", url)
    assert "secret-token" not in str(caught.value)


@pytest.fixture
def certificate(tmp_path):
    """A certificate of «hooks.test» signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.test")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return tmp_path


def test_tls_is_spoken_with_the_name_of_the_url_and_its_certificate_is_verified(settings, monkeypatch, certificate):
    settings.OUTBOUND_ALLOWED = LOCAL
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **named: real("127.0.0.1" if host.endswith(".test") else host, *rest, **named)
    )
    with serving(tls=context) as server:
        with pytest.raises(outbound.OutboundError, match="certificate"):
            outbound.request("GET", server.url(host="hooks.test", scheme="https"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        assert outbound.request("GET", server.url(host="hooks.test", scheme="https")).status == 200
        with pytest.raises(outbound.OutboundError, match="certificate"):
            outbound.request("GET", server.url(host="other.test", scheme="https"))
    assert names[-2:] == ["hooks.test", "other.test"]
    assert len(server.received) == 1
