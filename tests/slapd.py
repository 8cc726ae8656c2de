"""A real OpenLDAP server on a loopback port, with its own configuration, data and certificates. Binds only over TLS."""

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.certificates import make_certificates
from tests.waiting import until

BASE = "dc=example,dc=org"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "the search account's own"
PASSWORDS = {"alice": "alice's pass phrase", "bob": "bob's pass phrase", "root": "a directory's root"}

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {at}/slapd.pid
TLSCACertificateFile {at}/ca.pem
TLSCertificateFile {at}/server.pem
TLSCertificateKeyFile {at}/server.key
security simple_bind=128
database mdb
maxsize 10485760
suffix "{base}"
rootdn "{admin}"
rootpw "{password}"
directory {at}/data
"""


def _person(name: str) -> str:
    return f"""dn: uid={name},ou=people,{BASE}
objectClass: inetOrgPerson
uid: {name}
cn: {name.title()} Example
sn: Example
mail: {name}@example.org
userPassword: {PASSWORDS.get(name, "no password")}
"""


def _group(name: str, *members: str) -> str:
    lines = "\n".join(f"member: {member},{BASE}" for member in members)
    return f"dn: cn={name},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {name}\n{lines}\n"


# staff holds developers by way of engineering, and developers hold staff: a circle.
ENTRIES = [
    f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n",
    f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n",
    f"dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups\n",
    *(_person(name) for name in ("alice", "bob", "root", "twin")),
    f"dn: uid=twin,ou=groups,{BASE}\nobjectClass: inetOrgPerson\nuid: twin\ncn: Twin\nsn: Twin\n",
    _group("developers", "uid=alice,ou=people", "cn=staff,ou=groups"),
    _group("engineering", "cn=developers,ou=groups"),
    _group("staff", "cn=engineering,ou=groups"),
    _group("sales", "uid=bob,ou=people"),
]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Slapd:
    """Args: host: the name in its certificate."""

    def __init__(self, host: str = "localhost") -> None:
        self.at = Path(tempfile.mkdtemp(prefix="vireo-slapd-", dir="/tmp"))
        (self.at / "data").mkdir()
        self.ca = make_certificates(self.at, host)
        self.port, self.tls_port = _free_port(), _free_port()
        text = CONFIGURATION.format(at=self.at, base=BASE, admin=ADMIN, password=ADMIN_PASSWORD)
        (self.at / "slapd.conf").write_text(text)
        subprocess.run(["slapadd", "-f", str(self.at / "slapd.conf")], input="\n".join(ENTRIES), text=True, check=True, capture_output=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    def start(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        command = ["slapd", "-f", str(self.at / "slapd.conf"), "-h", urls, "-d", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, 10, "slapd to answer")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def change(self, ldif: str) -> None:
        """Applies an LDIF of changes while the server is down."""
        self.stop()
        subprocess.run(["slapmodify", "-f", str(self.at / "slapd.conf")], input=ldif, text=True, check=True, capture_output=True)
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.at, ignore_errors=True)
