"""Sign-in with a password that an LDAP directory keeps."""

import logging
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.backends import LocalBackend
from accounts.directory import ldap
from accounts.directory.admission import admit
from accounts.directory.models import IdentityProvider, ProviderKind
from accounts.directory.person import DirectoryProblem
from accounts.directory.settings import directory_of
from accounts.models import User

log = logging.getLogger(__name__)


class DirectoryBackend(LocalBackend):
    """Asks every enabled directory. What could not be asked is said in `request.sign_in_problem`."""

    def authenticate(self, request: HttpRequest | None, username: str = "", password: str = "", **kwargs: Any) -> User | None:  # nosec B107 # empty fits nobody
        for provider in IdentityProvider.objects.filter(kind=ProviderKind.LDAP, enabled=True):
            try:
                user = _ask(provider, username, password)
            except DirectoryProblem as problem:
                log.warning("%s could not be asked: %s %s", provider, problem.text, problem.cause)
                _tell(request, f"{provider}: {problem.text} Users whom Vireo keeps itself can sign in.")
            except ValidationError as refused:
                _tell(request, " ".join(refused.messages))
            else:
                if user is not None:
                    return user
        return None


def _ask(provider: IdentityProvider, username: str, password: str) -> User | None:
    # A local user's password is no business of the directory; asking all the same takes the same time.
    not_theirs = User.objects.filter(username__iexact=username).exclude(source=provider).exists()
    person = ldap.verify(directory_of(provider), username, password, pretend=not_theirs)
    user = admit(provider, person) if person is not None else None
    return user if user is not None and user.is_active else None


def _tell(request: HttpRequest | None, problem: str) -> None:
    if request is not None:
        request.sign_in_problem = problem  # type: ignore[attr-defined]
