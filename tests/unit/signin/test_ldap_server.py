"""What Vireo asks a real OpenLDAP server, and what it makes of the answers."""

import dataclasses

import pytest

from accounts.directory import ldap
from accounts.directory.ldap import normal_dn
from accounts.directory.person import DirectoryProblem
from accounts.directory.settings import directory_of
from tests.certificates import make_certificates
from tests.slapd import ADMIN_PASSWORD, BASE, PASSWORDS

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory(provider):
    return directory_of(provider)


def with_(directory, **changes):
    return dataclasses.replace(directory, **changes)


@pytest.mark.parametrize("way", ["url", "tls_url"])
def test_the_right_password_gives_the_person_with_nested_groups(slapd, directory, way):
    person = ldap.verify(with_(directory, urls=(getattr(slapd, way),)), "alice", PASSWORDS["alice"])
    assert (person.username, person.full_name, person.email) == ("alice", "Alice Example", "alice@example.org")
    assert {normal_dn(name) for name in person.groups} == {f"cn={name},ou=groups,{BASE}" for name in ("developers", "engineering", "staff")}
    assert len(person.external_id) == 36  # the entry's UUID


@pytest.mark.parametrize(
    "username, password",
    [("alice", "wrong"), ("alice", ""), ("", "x"), ("nobody", "x"), ("twin", "no password"), ("alice\0", PASSWORDS["alice"])],
)
def test_nobody_else_is_let_in(directory, username, password):
    assert ldap.verify(directory, username, password) is None


@pytest.mark.parametrize(
    "username", ["*", "ali*", "alice)(uid=*", "*)(|(uid=alice)", "alice)(objectClass=*", "\\61lice", "(", "al\u0131ce"]
)
def test_a_name_is_no_filter(directory, username):
    assert ldap.verify(directory, username, PASSWORDS["alice"]) is None


def test_a_password_is_not_sent_for_a_name_that_is_not_the_directorys(directory):
    assert ldap.verify(directory, "alice", PASSWORDS["alice"], pretend=True) is None


def test_a_certificate_of_another_authority_or_of_another_host_is_refused(tmp_path, slapd, directory):
    with pytest.raises(DirectoryProblem) as problem:
        ldap.verify(with_(directory, ca=make_certificates(tmp_path, "localhost")), "alice", PASSWORDS["alice"])
    assert "does not answer" in problem.value.text and "certificate" in problem.value.cause.lower()
    for url in (f"ldap://127.0.0.1:{slapd.port}", f"ldaps://127.0.0.1:{slapd.tls_port}"):
        with pytest.raises(DirectoryProblem) as problem:
            ldap.verify(with_(directory, urls=(url,)), "alice", PASSWORDS["alice"])
        assert "127.0.0.1" in problem.value.cause
    with pytest.raises(DirectoryProblem):
        ldap.verify(with_(directory, ca=""), "alice", PASSWORDS["alice"])


def test_the_next_server_is_asked_when_the_first_is_down(slapd, directory):
    found = ldap.verify(with_(directory, urls=("ldap://127.0.0.1:1", slapd.url)), "bob", PASSWORDS["bob"])
    assert found.username == "bob"


def test_a_wrong_search_account_is_a_problem_and_names_no_password(directory):
    with pytest.raises(DirectoryProblem) as problem:
        ldap.verify(with_(directory, password="another"), "alice", PASSWORDS["alice"])
    assert "own account" in problem.value.text
    assert "another" not in problem.value.text + problem.value.cause + repr(directory)
    assert ADMIN_PASSWORD not in repr(directory)


def test_a_server_that_is_down_is_a_problem(slapd, directory):
    slapd.stop()
    with pytest.raises(DirectoryProblem, match="does not answer"):
        ldap.verify(directory, "alice", PASSWORDS["alice"])


def test_a_server_that_answers_nonsense_is_a_problem(directory):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as liar:
        threading.Thread(target=lambda: liar.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), daemon=True).start()
        with pytest.raises(DirectoryProblem):
            ldap.verify(with_(directory, urls=(f"ldap://localhost:{liar.getsockname()[1]}",)), "alice", PASSWORDS["alice"])


def test_a_filter_of_the_administrators_own_and_a_broken_one(directory):
    mail = with_(directory, user_filter="(&(objectClass=inetOrgPerson)(mail={username}))")
    assert ldap.verify(mail, "bob@example.org", PASSWORDS["bob"]).username == "bob"
    with pytest.raises(DirectoryProblem):
        ldap.verify(with_(directory, user_filter="(&(uid={username})"), "bob", PASSWORDS["bob"])


def test_active_directory_is_asked_for_nested_groups_in_one_search(directory):
    # OpenLDAP knows no such rule: it takes the search, and finds nothing.
    with ldap._session(directory, lambda step: None) as (connection, _):
        assert ldap._groups(connection, with_(directory, schema="ad"), f"uid=(a*),ou=people,{BASE}") == []


@pytest.mark.parametrize(
    "one, other", [("CN=Staff, OU=Groups,DC=example,DC=org", "cn=staff,ou=groups,dc=example,dc=org"), ("cn=a\\,b,dc=x", "CN=A\\, B,dc=x")]
)
def test_two_spellings_of_a_name(one, other):
    assert (normal_dn(one) == normal_dn(other)) is (one.startswith("CN=Staff"))
