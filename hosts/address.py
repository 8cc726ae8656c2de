"""Checking what a person typed as a host's name or address: hostile until proven plain."""

import ipaddress
import re

from portal.errors import FieldError

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_SSH_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def valid_address(text: str, field: str = "address") -> str:
    """The address in one spelling: an IP address, or a DNS name in lower case.

    Raises:
        FieldError: it is neither.
    """
    text = text.strip()
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    name = text.rstrip(".").lower()
    if not name:
        raise FieldError(field, "Give the host's name or IP address.")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise FieldError(field, f"“{text[:80]}” is not a host name or an IP address.")
    if name.replace(".", "").isdigit():
        raise FieldError(field, f"“{name}” is not a complete IP address.")
    return name


def valid_ssh_user(text: str) -> str:
    """A Unix login name.

    Raises:
        FieldError: it holds characters that a login name does not have.
    """
    text = text.strip() or "root"
    if not _SSH_USER.fullmatch(text):
        raise FieldError("ssh_user", f"“{text[:40]}” is not a login name.")
    return text


_USUAL_PORTS = {"tls": 16514, "ssh": 22}


def valid_port(port: int, transport: str = "") -> int:
    """0 (the transport's own, which is also what its number becomes: one host has one spelling) or a TCP port. Raises FieldError."""
    if not 0 <= port <= 65535:
        raise FieldError("port", "A port is a number from 1 to 65535; leave it empty for the usual one.")
    return 0 if port == _USUAL_PORTS.get(transport) else port
