"""A host by qemu+ssh: Vireo's key opens it, and its own key is pinned at first contact."""

import subprocess
from pathlib import Path

import pytest

from hosts import services, ssh
from hosts.models import Host, HostStatus
from hypervisor.links import links
from jobs import runner
from jobs.models import JobStatus
from tests.build import make_cluster, make_user
from tests.waiting import until

PORT = 2222
CACHE = Path(__file__).resolve().parent.parent.parent / "var" / "cache" / "sshd"
CONFIGURATION = """Port {port}
ListenAddress {address}
HostKey {directory}/{key}
AuthorizedKeysFile {directory}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
"""
# sshd wants its user and directory; both exist in the host's own mounts alone.
START = """mkdir -p /run/sshd
cp /etc/passwd '{directory}/passwd'
grep -q ^sshd: '{directory}/passwd' || echo sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin >> '{directory}/passwd'
mount --bind '{directory}/passwd' /etc/passwd
exec '{sshd}' -D -e -f '{directory}/conf'"""


@pytest.fixture(scope="session")
def sshd():
    """Debian's sshd, unpacked and not installed: nothing starts on this machine."""
    program = CACHE / "usr" / "sbin" / "sshd"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-q", "download", "openssh-server"], cwd=CACHE, check=True)
        subprocess.run(["dpkg-deb", "-x", next(CACHE.glob("openssh-server_*.deb")), CACHE], check=True)
    return program


class Server:
    """An sshd inside node2, with a host key that can be exchanged."""

    def __init__(self, lab, directory, program):
        self.node, self.directory, self.program = lab.node("node2"), directory, program
        self.pid = next(host.pid for host in lab.status() if host.name == "node2")
        self.process = None

    def start(self, key):
        self.stop()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / key], check=True)
        (self.directory / "conf").write_text(CONFIGURATION.format(port=PORT, address=self.node.address, directory=self.directory, key=key))
        script = START.format(directory=self.directory, sshd=self.program)
        self.process = subprocess.Popen(["nsenter", "-t", str(self.pid), "-m", "-u", "-n", "bash", "-c", script], stderr=subprocess.DEVNULL)
        until(self.answers, 10, "sshd to answer")

    def answers(self):
        try:
            return ssh.scan(self.node.address, PORT)
        except ssh.HostKeyUnavailable:
            return ""

    def admit(self, line):
        (self.directory / "authorized").write_text(line + "\n")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


@pytest.fixture
def server(lab, sshd, tmp_path):
    made = Server(lab, tmp_path, sshd)
    made.admit("")
    try:
        yield made
    finally:
        made.stop()
        links.close()


def add(admin, server, **fields):
    new = services.NewHost(**{"name": "by-ssh", "cluster": make_cluster(), "address": server.node.address, "transport": "ssh", "port": PORT} | fields)
    host, job = services.add(admin, new)
    return finished(host, job)


def finished(host, job):
    runner.run(job.pk)
    job.refresh_from_db()
    host.refresh_from_db()
    return host, job


@pytest.mark.django_db(transaction=True)
def test_host_joins_by_ssh_and_another_host_key_is_refused_until_accepted(server):
    admin = make_user(role="SuperUser")
    server.start("first")
    host, job = add(admin, server)
    assert job.status == JobStatus.FAILED
    assert ssh.public_key() in job.error, "the reason says what to put where"

    server.admit(ssh.public_key())
    host, job = finished(host, services.activate(admin, host))
    assert (job.status, host.status) == (JobStatus.SUCCEEDED, HostStatus.UP), (job.error, job.error_detail)
    assert host.ssh_host_keys == ssh.scan(server.node.address, PORT)

    Host.objects.filter(pk=host.pk).update(status=HostStatus.MAINTENANCE)
    host.refresh_from_db()
    server.start("second")
    host, job = finished(host, services.activate(admin, host))
    assert job.status == JobStatus.FAILED
    assert "another SSH host key" in job.error

    host, job = finished(host, services.activate(admin, host, accept_new_key=True))
    assert (job.status, host.status) == (JobStatus.SUCCEEDED, HostStatus.UP), (job.error, job.error_detail)


@pytest.mark.django_db(transaction=True)
def test_key_that_is_not_the_expected_one_is_refused_before_anything_is_sent(server):
    server.start("key")
    server.admit(ssh.public_key())
    host, job = add(make_user(role="SuperUser"), server, ssh_fingerprint="SHA256:" + "A" * 43)
    assert job.status == JobStatus.FAILED
    assert "another host key than the one you gave" in job.error
    assert host.ssh_host_keys == ""
