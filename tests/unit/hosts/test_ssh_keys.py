"""Vireo's SSH key, and the host keys that it accepts."""

import subprocess
import threading

import pytest

from hosts import ssh
from hosts.connect import address_of
from tests.build import make_host

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSFxo2mQGo3WqRBmGMDEkRxAZTsVSwVnmGoYZbsbTRB"


@pytest.fixture(autouse=True)
def own_directory(settings, tmp_path):
    settings.PKI_DIR = tmp_path


def test_key_is_made_once_even_by_many_at_once():
    seen = set()
    threads = [threading.Thread(target=lambda: seen.add(ssh.private_key().read_bytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1


def test_key_is_readable_by_us_alone_and_openssh_accepts_it():
    path = ssh.private_key()
    assert path.stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True).stdout.split()
    assert shown[:2] == ssh.public_key().split()[:2]


def test_fingerprint_is_what_ssh_keygen_prints(tmp_path):
    file = tmp_path / "key.pub"
    file.write_text(KEY + "\n")
    printed = subprocess.run(["ssh-keygen", "-l", "-f", file], capture_output=True, text=True, check=True).stdout
    assert ssh.fingerprints(KEY)[0] in printed


@pytest.mark.django_db
def test_known_hosts_holds_the_pinned_key_for_this_host_and_port():
    host = make_host(transport="ssh", address="192.0.2.5", port=2222, ssh_host_keys=KEY)
    assert ssh.known_hosts(host).read_text() == f"[192.0.2.5]:2222 {KEY}\n"
    host.ssh_host_keys = ""
    assert ssh.known_hosts(host).read_text() == ""


@pytest.mark.django_db
def test_uri_by_ssh_names_key_and_known_hosts_and_never_turns_the_check_off():
    host = make_host(transport="ssh", address="192.0.2.5", port=0, ssh_user="vireo", ssh_host_keys=KEY)
    uri = address_of(host).connect_uri
    assert "vireo@192.0.2.5" in uri
    assert f"keyfile={ssh.private_key()}" in uri
    assert f"known_hosts={ssh.known_hosts(host)}" in uri
    assert "no_verify" not in uri
    assert "ignore" not in uri


def test_nobody_at_the_port_is_a_clear_error():
    with pytest.raises(ssh.HostKeyUnavailable, match="no SSH server answers at 127.0.0.1 port 1"):
        ssh.scan("127.0.0.1", 1)
