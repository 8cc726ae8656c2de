"""Asking an LDAP server or Active Directory: search for the user, then bind as them. Always over TLS, always with a checked certificate."""

import secrets
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ldap3 import NONE, SIMPLE, SUBTREE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPException, LDAPInvalidDnError
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn

from accounts.directory.person import DirectoryProblem, Person

CONNECT_SECONDS, ANSWER_SECONDS = 4, 8
MOST_GROUPS = 2000
IN_CHAIN = "1.2.840.113556.1.4.1941"  # Active Directory follows nested groups by itself
INVALID_CREDENTIALS = 49
SIZE_LIMIT_EXCEEDED = 4

Say = Callable[[str], None]


def _silent(step: str) -> None:
    return None


@dataclass(frozen=True)
class Schema:
    """How a kind of server names what we read."""

    username: str
    full_name: str
    email: str
    external_id: str
    follows_chains: bool


SCHEMAS = {
    "ldap": Schema("uid", "cn", "mail", "entryUUID", follows_chains=False),
    "ad": Schema("sAMAccountName", "displayName", "mail", "objectGUID", follows_chains=True),
}


@dataclass(frozen=True)
class Directory:
    """The settings of one LDAP provider.

    Args:
        urls: tried in order; `ldap://` means StartTLS.
        ca: PEM of who signed the servers' certificates; empty: those that the system trusts.
        user_filter: in which `{username}` stands for the escaped name; empty: by the schema's own attribute.
    """

    urls: tuple[str, ...]
    base_dn: str
    schema: str = "ldap"
    ca: str = ""
    bind_dn: str = ""
    user_filter: str = ""
    group_base_dn: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Directory({', '.join(self.urls)})"  # never the password

    def filter_for(self, username: str) -> str:
        template = self.user_filter or f"({SCHEMAS[self.schema].username}={{username}})"
        return template.replace("{username}", escape_filter_chars(username))


def verify(directory: Directory, username: str, password: str, *, pretend: bool = False, say: Say = _silent) -> Person | None:
    """The person with this name and password; None when there is none.

    An unknown name takes as many steps as a known one, so that the time tells nothing.

    Args:
        pretend: goes the same way with a name that this directory must not answer for; the password is not sent.
    """
    if not username or not password:
        return None  # a server takes a bind without a password for an anonymous one, and says yes
    with _session(directory, say) as (connection, server):
        entry = _find(connection, directory, username, say)
        if entry is None or pretend:
            _binds(server, f"cn={secrets.token_hex(8)},{directory.base_dn}", secrets.token_hex(16))
            return None
        if not _binds(server, entry["dn"], password):
            say("The directory refused this password.")
            return None
        say("The directory accepted the password.")
        return _person(connection, directory, entry, say)


def look_up(directory: Directory, username: str, *, say: Say = _silent) -> Person | None:
    """The person with this name, without a password: for an administrator's test."""
    with _session(directory, say) as (connection, _):
        entry = _find(connection, directory, username, say) if username else None
        return _person(connection, directory, entry, say) if entry else None


def normal_dn(dn: str) -> str:
    """One spelling of a distinguished name, to compare by. Raises ValueError when it is none."""
    try:
        parts = parse_dn(dn, escape=False, strip=True)
    except LDAPInvalidDnError as error:
        raise ValueError(f"«{dn}» is no distinguished name") from error
    return "".join(f"{name.strip().lower()}={value.strip().lower()}{separator}" for name, value, separator in parts)


# Connections


def _server(directory: Directory, url: str) -> Server:
    parts = urlsplit(url)
    encrypted = parts.scheme == "ldaps"
    try:
        tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_data=directory.ca or None)
        return Server(
            parts.hostname, parts.port or (636 if encrypted else 389), encrypted, tls=tls, get_info=NONE, connect_timeout=CONNECT_SECONDS
        )
    except (LDAPException, ValueError) as error:
        raise DirectoryProblem("The directory's settings are wrong.", str(error)) from None


def _connected(server: Server, dn: str, password: str) -> Connection:
    """A connection that is encrypted, and not bound yet."""
    connection = Connection(
        server,
        user=dn or None,
        password=password or None,
        authentication=SIMPLE if dn else None,
        read_only=True,
        auto_referrals=False,
        receive_timeout=ANSWER_SECONDS,
    )
    connection.open(read_server_info=False)
    if not server.ssl and not connection.start_tls(read_server_info=False):
        raise DirectoryProblem("The directory offers no StartTLS.", _said(connection))
    return connection


@contextmanager
def _session(directory: Directory, say: Say) -> Iterator[tuple[Connection, Server]]:
    """A connection bound as the search account, at the first server that answers."""
    connection, server = _first_that_answers(directory, say)
    try:
        if not connection.bind():
            raise DirectoryProblem("The directory does not accept Vireo's own account.", _said(connection))
        say(f"Signed in as {directory.bind_dn or 'anonymous'}.")
        yield connection, server
    except (LDAPException, OSError, ssl.SSLError) as error:
        raise DirectoryProblem("The directory stopped answering.", _words(error)) from None
    finally:
        _leave(connection)


def _first_that_answers(directory: Directory, say: Say) -> tuple[Connection, Server]:
    causes = []
    for url in directory.urls:
        server = _server(directory, url)
        try:
            connection = _connected(server, directory.bind_dn, directory.password)
        except DirectoryProblem as problem:
            causes.append(f"{url}: {problem.text} {problem.cause}")
        except (LDAPException, OSError, ssl.SSLError, ValueError) as error:
            causes.append(f"{url}: {_words(error)}")
        else:
            say(f"Connected to {url}{'' if server.ssl else ' with StartTLS'}; its certificate is good.")
            return connection, server
        say(f"Not connected. {causes[-1]}")
    raise DirectoryProblem("The directory does not answer.", " ".join(causes))


def _binds(server: Server, dn: str, password: str) -> bool:
    connection = _connected(server, dn, password)
    try:
        if connection.bind():
            return True
        if connection.result["result"] != INVALID_CREDENTIALS and connection.result["description"] in ("busy", "unavailable"):
            raise DirectoryProblem("The directory is busy.", _said(connection))
        return False
    finally:
        _leave(connection)


def _leave(connection: Connection) -> None:
    try:
        connection.unbind()
    except (LDAPException, OSError):
        return


def _said(connection: Connection) -> str:
    result = connection.result or {}
    return " ".join(part for part in (result.get("description") or "", result.get("message") or "") if part)


def _words(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__


# Reading


def _search(connection: Connection, base: str, text: str, attributes: list[str], limit: int) -> list[dict[str, Any]]:
    connection.search(base, text, search_scope=SUBTREE, attributes=attributes, size_limit=limit, time_limit=ANSWER_SECONDS)
    if connection.result["result"] not in (0, SIZE_LIMIT_EXCEEDED):
        raise DirectoryProblem("The directory refused the search.", _said(connection))
    return [entry for entry in connection.response or [] if entry["type"] == "searchResEntry"]


def _find(connection: Connection, directory: Directory, username: str, say: Say) -> dict[str, Any] | None:
    schema = SCHEMAS[directory.schema]
    text = directory.filter_for(username)
    found = _search(connection, directory.base_dn, text, [schema.username, schema.full_name, schema.email, schema.external_id], 2)
    if len(found) > 1:
        say(f"{text} finds more than one entry below {directory.base_dn}: nobody signs in by an ambiguous name.")
        return None
    say(f"{text} finds {found[0]['dn']}." if found else f"{text} finds nobody below {directory.base_dn}.")
    return found[0] if found else None


def _person(connection: Connection, directory: Directory, entry: dict[str, Any], say: Say) -> Person | None:
    schema = SCHEMAS[directory.schema]
    username = _text(entry, schema.username)
    if not username:
        say(f"The entry has no {schema.username}.")
        return None
    groups = _groups(connection, directory, entry["dn"])
    return Person(
        _external_id(entry, schema), username, _text(entry, schema.full_name), _text(entry, schema.email), tuple(groups), entry["dn"]
    )


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry["attributes"].get(name) or ""
    value = value[0] if isinstance(value, list) else value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _external_id(entry: dict[str, Any], schema: Schema) -> str:
    raw = (entry["raw_attributes"].get(schema.external_id) or [b""])[0]
    if schema.external_id == "objectGUID" and len(raw) == 16:
        return str(uuid.UUID(bytes_le=raw))
    return raw.decode(errors="replace") or normal_dn(entry["dn"])


def _groups(connection: Connection, directory: Directory, dn: str) -> list[str]:
    base = directory.group_base_dn or directory.base_dn
    if SCHEMAS[directory.schema].follows_chains:
        found = _search(connection, base, f"(member:{IN_CHAIN}:={escape_filter_chars(dn)})", ["cn"], MOST_GROUPS)
        return [entry["dn"] for entry in found]
    return _walk(connection, base, dn)


def _walk(connection: Connection, base: str, dn: str) -> list[str]:
    """The groups of an entry, the groups of those, and so on; each is visited once, so a circle ends."""
    found: dict[str, str] = {}
    level = [dn]
    while level and len(found) < MOST_GROUPS:
        members = "".join(f"(member={escape_filter_chars(each)})(uniqueMember={escape_filter_chars(each)})" for each in level[:100])
        above = _search(connection, base, f"(|{members})", ["cn"], MOST_GROUPS)
        fresh = {normal_dn(entry["dn"]): entry["dn"] for entry in above if normal_dn(entry["dn"]) not in found}
        found |= fresh
        level = level[100:] + list(fresh.values())
    return list(found.values())
