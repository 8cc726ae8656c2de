"""A provider's settings as the code that asks it takes them."""

from accounts.directory.ldap import Directory
from accounts.directory.models import IdentityProvider
from accounts.directory.person import DirectoryProblem


def secret_of(provider: IdentityProvider) -> str:
    try:
        return provider.secret
    except ValueError as error:
        raise DirectoryProblem("The stored secret of this directory cannot be read: enter it again.", str(error)) from None


def directory_of(provider: IdentityProvider) -> Directory:
    """The settings of an LDAP provider with its secret."""
    known = provider.settings
    return Directory(
        urls=tuple(known.get("urls", ())),
        base_dn=known.get("base_dn", ""),
        schema=known.get("schema", "ldap"),
        ca=known.get("ca", ""),
        bind_dn=known.get("bind_dn", ""),
        user_filter=known.get("user_filter", ""),
        group_base_dn=known.get("group_base_dn", ""),
        password=secret_of(provider),
    )
