"""A directory to sign in by."""

from collections.abc import Iterator

import pytest

from accounts.directory.models import IdentityProvider
from accounts.directory.saml import metadata
from tests.saml_provider import Provider as SamlProvider
from tests.slapd import ADMIN, ADMIN_PASSWORD, BASE, Slapd


@pytest.fixture(scope="session")
def slapd_server() -> Iterator[Slapd]:
    server = Slapd()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def slapd(slapd_server: Slapd) -> Iterator[Slapd]:
    """The server, running again after the test whatever that did to it."""
    yield slapd_server
    if slapd_server.process is None:
        slapd_server.start()


def ldap_settings(server: Slapd, **changes: object) -> dict[str, object]:
    known = {
        "schema": "ldap", "urls": [server.url], "ca": server.ca, "bind_dn": ADMIN, "base_dn": BASE, "user_filter": "", "group_base_dn": f"ou=groups,{BASE}",
    }  # fmt: skip
    return known | changes


@pytest.fixture
def provider(db, slapd: Slapd) -> IdentityProvider:
    made = IdentityProvider(kind="ldap", name="Example", enabled=True, settings=ldap_settings(slapd))
    made.secret = ADMIN_PASSWORD
    made.save()
    return made


@pytest.fixture(scope="session")
def idp() -> Iterator[SamlProvider]:
    """The SAML provider that Vireo trusts."""
    made = SamlProvider()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def stranger() -> Iterator[SamlProvider]:
    """One that calls itself the same, and has another key."""
    made = SamlProvider()
    yield made
    made.remove()


@pytest.fixture
def saml(db, idp: SamlProvider) -> IdentityProvider:
    return IdentityProvider.objects.create(kind="saml", name="Example", enabled=True, settings=metadata.read(idp.metadata()))
