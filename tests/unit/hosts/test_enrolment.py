"""Enrolment: what a token opens, and the script's own functions against the real portal."""

import hashlib
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from django.urls import reverse
from django.utils import timezone

from hosts import services
from hosts.enrolment import SCRIPT
from hosts.models import Enrolment
from jobs.models import Job
from portal.errors import NotPossible
from tests.build import make_cluster, make_host, make_user

ADDRESS = "192.0.2.31"


@pytest.fixture
def admin(db):
    return make_user(role="SuperUser")


def waiting_host(admin, base_url="http://testserver"):
    """A host that waits, its enrolment, and the token out of the command."""
    host, _job = services.add(admin, services.NewHost(name="Host 31", cluster=make_cluster(), address=ADDRESS, enrol=True))
    return host, *enrol(admin, host, base_url)


def enrol(admin, host, base_url="http://testserver"):
    command = services.new_enrolment(admin, host, base_url)
    token = command.text.split("VIREO_TOKEN=")[1].split()[0]
    return Enrolment.objects.get(host=host, completed_at=None), token, command


def request_for(key, name="somebody-else"):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName("vireo.example")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, False).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def post(client, what, enrolment, token, body=b""):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.post(reverse(f"hosts:enrol-{what}", args=[enrolment.pk]), body, content_type="application/octet-stream", headers=headers)


def test_certificate_holds_what_was_approved_and_not_what_was_requested(client, admin, rsa_key):
    _host, enrolment, token, _command = waiting_host(admin)
    answer = post(client, "csr", enrolment, token, request_for(rsa_key))
    assert answer.status_code == 200
    certificate = x509.load_pem_x509_certificate(answer.content)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [ADDRESS]
    assert "vireo.example" not in names.get_values_for_type(x509.DNSName)


def test_token_works_once(client, admin, rsa_key):
    _host, enrolment, token, _command = waiting_host(admin)
    assert post(client, "csr", enrolment, token, request_for(rsa_key)).status_code == 200
    assert post(client, "csr", enrolment, token, request_for(rsa_key)).status_code == 403


@pytest.mark.parametrize("token", ["", "wrong"])
def test_wrong_token_opens_nothing_and_spends_nothing(client, admin, rsa_key, token):
    _host, enrolment, good, _command = waiting_host(admin)
    assert post(client, "csr", enrolment, token, request_for(rsa_key)).status_code == 403
    assert post(client, "csr", enrolment, good, request_for(rsa_key)).status_code == 200


def test_token_ends_after_an_hour(client, admin, rsa_key):
    _host, enrolment, token, _command = waiting_host(admin)
    assert enrolment.expires_at - timezone.now() <= timedelta(hours=1)
    Enrolment.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert post(client, "csr", enrolment, token, request_for(rsa_key)).status_code == 404
    assert client.get(reverse("hosts:enrol-script", args=[enrolment.pk])).status_code == 404


@pytest.mark.parametrize("body", [b"", b"not a request", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", b"\xff" * 64])
def test_what_is_no_request_is_refused_and_the_token_stays_good(client, admin, rsa_key, body):
    _host, enrolment, token, _command = waiting_host(admin)
    answer = post(client, "csr", enrolment, token, body)
    assert answer.status_code == 422
    assert b"request" in answer.content
    assert post(client, "csr", enrolment, token, request_for(rsa_key)).status_code == 200


def test_elliptic_key_is_refused_because_libvirt_refuses_it(client, admin):
    _host, enrolment, token, _command = waiting_host(admin)
    answer = post(client, "csr", enrolment, token, request_for(ec.generate_private_key(ec.SECP256R1())))
    assert (answer.status_code, b"RSA" in answer.content) == (422, True)


def test_huge_request_is_not_read(client, admin):
    _host, enrolment, token, _command = waiting_host(admin)
    assert post(client, "csr", enrolment, token, b"x" * 20_000).status_code == 413


def test_new_command_ends_the_one_before(client, admin, rsa_key):
    host, first, token, _command = waiting_host(admin)
    enrol(admin, host)
    assert post(client, "csr", first, token, request_for(rsa_key)).status_code == 404


def test_token_is_stored_as_digest_only_and_in_no_url(admin):
    _host, enrolment, token, command = waiting_host(admin)
    assert enrolment.digest == hashlib.sha256(token.encode()).hexdigest()
    assert token not in str([list(row.values()) for row in Enrolment.objects.values()])
    assert token not in command.text.split("-o")[0]
    assert token not in repr(command)


def test_command_pins_the_script_that_the_portal_serves(client, admin):
    _host, enrolment, _token, command = waiting_host(admin)
    served = client.get(reverse("hosts:enrol-script", args=[enrolment.pk]))
    assert hashlib.sha256(served.content).hexdigest() in command.text


def test_ready_starts_the_job_once_in_the_name_of_who_made_the_command(client, admin, rsa_key):
    host, enrolment, token, _command = waiting_host(admin)
    assert post(client, "ready", enrolment, token).status_code == 403, "no certificate was fetched yet"
    post(client, "csr", enrolment, token, request_for(rsa_key))
    assert post(client, "ready", enrolment, token).status_code == 202
    assert post(client, "ready", enrolment, token).status_code in (403, 404)
    job = Job.objects.get()
    assert (job.kind, job.object_id, job.user) == ("host.add", host.pk, admin)


def test_no_command_for_a_host_that_is_up(admin):
    with pytest.raises(NotPossible):
        services.new_enrolment(admin, make_host(transport="tls"), "http://testserver")


def shell(directory: Path, text: str, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", f'source "{script}"\n{text}'], cwd=directory, capture_output=True, text=True, timeout=60)


def test_script_is_bash_and_sourcing_it_does_nothing(tmp_path):
    assert subprocess.run(["bash", "-n", SCRIPT]).returncode == 0
    done = shell(tmp_path, "echo sourced")
    assert (done.stdout, done.stderr) == ("sourced\n", "")


@pytest.mark.parametrize(
    ("release", "family"),
    [("ID=debian", "debian"), ('ID=ubuntu\nID_LIKE="debian"', "debian"), ('ID="rocky"\nID_LIKE="rhel centos fedora"', "el"), ("ID=fedora", "el"), ("ID=alpine", "")],
)
def test_script_knows_the_families(tmp_path, release, family):
    (tmp_path / "os-release").write_text(release + "\n")
    assert shell(tmp_path, "family_of os-release || true").stdout.strip() == family


def test_script_sets_an_option_once_and_keeps_the_first_file(tmp_path):
    conf = tmp_path / "libvirtd.conf"
    conf.write_text('#listen_tls = 0\nlisten_tls = 0\nlisten_tls=0\nauth_tls = "sasl"\n')
    shell(tmp_path, "set_option libvirtd.conf listen_tls 1; set_option libvirtd.conf listen_tls 1")
    assert conf.read_text() == '#listen_tls = 0\nauth_tls = "sasl"\nlisten_tls = 1\n'
    assert "listen_tls=0" in (tmp_path / "libvirtd.conf.before-vireo").read_text()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("plugin", "guests", "kept"), [(True, "", True), (True, "some-uuid", False), (False, "", False)])
def test_script_keeps_locks_of_disks_where_it_can_and_says_where_not(tmp_path, plugin, guests, kept):
    folder = tmp_path / "usr/lib/x86_64-linux-gnu/libvirt/lock-driver"
    folder.mkdir(parents=True)
    if plugin:
        (folder / "lockd.so").touch()
    done = shell(tmp_path, f'keep_locks "{tmp_path}" "{guests}"')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/libvirt/qemu.conf").exists() == kept
    assert bool(done.stdout) != kept


def test_script_fetches_and_installs_a_certificate_from_the_real_portal(live_server, tmp_path):
    admin = make_user(role="SuperUser")
    host, enrolment, token, command = waiting_host(admin, live_server.url)
    script = tmp_path / "script.sh"
    fetch = command.text.split(" && VIREO_TOKEN")[0].replace("$(mktemp)", str(script)).replace('trap \'rm -f "$f"\' EXIT', "true") + ")"
    assert subprocess.run(["bash", "-c", fetch], capture_output=True).returncode == 0, "the pasted line fetches and checks the script"
    root = tmp_path / "root"
    (root / "etc/pki/CA").mkdir(parents=True)
    (root / "etc/pki/CA/cacert.pem").write_text("of before\n")
    steps = f"""
        export VIREO_TOKEN={token}
        mkdir work
        make_request work "$HOST_ADDRESS"
        fetch_certificate work
        install_certificates {root} work
        configure {root} libvirtd {ADDRESS}
        post work "$PORTAL_URL/ready" /dev/null
    """
    done = shell(tmp_path, steps, script)
    assert done.returncode == 0, done.stderr
    pki = root / "etc/pki"
    verified = subprocess.run(["openssl", "verify", "-purpose", "sslserver", "-CAfile", pki / "CA/cacert.pem", pki / "libvirt/servercert.pem"])
    assert verified.returncode == 0
    assert (pki / "libvirt/private/serverkey.pem").stat().st_mode & 0o777 == 0o600
    assert (pki / "CA/cacert.pem.before-vireo").read_text() == "of before\n"
    assert "listen_tls = 1" in (root / "etc/libvirt/libvirtd.conf").read_text()
    assert f'vnc_listen = "{ADDRESS}"' in (root / "etc/libvirt/qemu.conf").read_text()
    assert Job.objects.get().object_id == host.pk
    again = shell(tmp_path, f"export VIREO_TOKEN={token}\nfetch_certificate work", script)
    assert again.returncode != 0
    assert "Vireo refused" in again.stderr
