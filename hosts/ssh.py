"""Vireo's own SSH key, and the host keys that it accepts.

One key pair for the installation lies in var/pki/ssh. A host's key is pinned when the host is added: it is kept in the
database, and written to a known_hosts file of that host's own whenever that is missing or differs.
"""

import base64
import binascii
import hashlib
import os
import secrets
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from django.conf import settings

from hosts.models import Host

SCAN_SECONDS = 5
SSH_PORT = 22


class HostKeyUnavailable(Exception):
    """The host's SSH server did not show a key."""


def _directory() -> Path:
    directory = Path(settings.PKI_DIR) / "ssh"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _write(path: Path, text: str) -> None:
    """The file appears whole, readable by us alone."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def private_key() -> Path:
    """Path of the installation's private key, made on first use. Two processes that start together agree on one."""
    path = _directory() / "id_ed25519"
    if not path.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        _write(draft, pem.decode())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path


def public_key() -> str:
    """The line for a host's ~/.ssh/authorized_keys."""
    key = serialization.load_ssh_private_key(private_key().read_bytes(), password=None)
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{line.decode()} vireo"


def known_hosts(host: Host) -> Path:
    """Path of the host's known_hosts file: its pinned keys and nothing else, so that any other key is refused."""
    directory = _directory() / "known_hosts"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / str(host.pk)
    name = host.address if host.port in (0, SSH_PORT) else f"[{host.address}]:{host.port}"
    text = "".join(f"{name} {key}\n" for key in host.ssh_host_keys.splitlines())
    if not path.exists() or path.read_text() != text:
        _write(path, text)
    return path


def scan(address: str, port: int) -> str:
    """The keys that the host's SSH server shows, one "type base64" a line.

    Raises:
        HostKeyUnavailable: no SSH server answered within SCAN_SECONDS.
    """
    command = ["ssh-keyscan", "-T", str(SCAN_SECONDS), "-p", str(port or SSH_PORT), "--", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=4 * SCAN_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise HostKeyUnavailable(f"{address} did not show its SSH host key in time") from None
    keys = sorted(line.split(" ", 1)[1] for line in done.stdout.splitlines() if line and not line.startswith("#") and line.count(" ") >= 2)
    if not keys:
        raise HostKeyUnavailable(f"no SSH server answers at {address} port {port or SSH_PORT}")
    return "\n".join(keys)


def fingerprints(keys: str) -> list[str]:
    """Each key as `ssh-keygen -l` writes it: SHA256:…, so that a person can compare."""
    found = []
    for line in keys.splitlines():
        try:
            blob = base64.b64decode(line.split()[1], validate=True)
        except (binascii.Error, IndexError):
            continue
        found.append("SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("="))
    return found
