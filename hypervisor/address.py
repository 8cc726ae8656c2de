"""Where a host's libvirtd is, and with which credentials it is reached."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

TLS_PORT = 16514


def _bracketed(host: str) -> str:
    """The host as it stands in a URI; IPv6 needs brackets."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        if not host or any(c in host for c in "/?#@[] \t\r\n"):
            raise ValueError(f"not a host name: {host!r}") from None
        return host


@dataclass(frozen=True)
class HostAddress:
    """A libvirt URI with the files that open it. Equal addresses share one link.

    Args:
        uri: libvirt's URI without parameters of ours, fit to show to a person.
        pki_dir: directory with cacert.pem, clientcert.pem and clientkey.pem (for TLS).
        keyfile, known_hosts: private key and accepted host keys (for SSH).
    """

    uri: str
    pki_dir: str = ""
    keyfile: str = ""
    known_hosts: str = ""

    @classmethod
    def tls(cls, host: str, pki_dir: str, port: int = TLS_PORT) -> "HostAddress":
        """A host with a certificate of our CA."""
        netloc = _bracketed(host) + (f":{port}" if port != TLS_PORT else "")
        return cls(f"qemu+tls://{netloc}/system", pki_dir=str(pki_dir))

    @classmethod
    def ssh(cls, user: str, host: str, keyfile: str, known_hosts: str, port: int = 22) -> "HostAddress":
        """A host where we may log in and open libvirt's socket; its host key must be in known_hosts."""
        netloc = f"{quote(user, safe='')}@{_bracketed(host)}" + (f":{port}" if port != 22 else "")
        return cls(f"qemu+ssh://{netloc}/system", keyfile=str(keyfile), known_hosts=str(known_hosts))

    @classmethod
    def test(cls, path: str = "/default") -> "HostAddress":
        """libvirt's test driver: a file that describes a host, or "/default" for the built-in one."""
        return cls(f"test://{quote(path if path.startswith('/') else '/' + path)}")

    @property
    def transport(self) -> str:
        """ "tls", "ssh", ... or "" for a driver inside this process."""
        return urlsplit(self.uri).scheme.partition("+")[2]

    @property
    def host(self) -> str:
        """Name or address of the host, "" when it is this machine."""
        return urlsplit(self.uri).hostname or ""

    @property
    def port(self) -> int:
        """TCP port that libvirtd or sshd listens on."""
        return urlsplit(self.uri).port or {"tls": TLS_PORT, "ssh": 22, "libssh": 22, "tcp": 16509}.get(self.transport, 0)

    @property
    def connect_uri(self) -> str:
        """The URI to open, with the credentials' paths as parameters."""
        parts = urlsplit(self.uri)
        scheme = parts.scheme
        parameters: dict[str, str] = {}
        if self.pki_dir:
            parameters["pkipath"] = self.pki_dir
        if self.keyfile:
            parameters |= {"keyfile": self.keyfile, "sshauth": "privkey", "no_tty": "1"}
        if self.known_hosts:
            # The ssh program takes no known_hosts from a libvirt URI; the libssh transport does.
            scheme = scheme.replace("+ssh", "+libssh") if scheme.endswith("+ssh") else scheme
            parameters |= {"known_hosts": self.known_hosts, "known_hosts_verify": "normal"}
        query = "&".join(part for part in (parts.query, urlencode(parameters, quote_via=quote, safe="/")) if part)
        return f"{scheme}://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")

    def __str__(self) -> str:
        return self.uri
