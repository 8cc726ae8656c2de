"""Sign-in by OpenID Connect: authorization code with PKCE, state and nonce; the ID token's signature and claims are checked by authlib."""

from typing import Any
from urllib.parse import urlsplit

from authlib.integrations.base_client import OAuthError
from authlib.integrations.django_client import OAuth
from django.http import HttpRequest, HttpResponse
from joserfc.errors import JoseError
from requests.exceptions import RequestException

from accounts.directory.models import IdentityProvider
from accounts.directory.person import DirectoryProblem, Person
from accounts.directory.settings import secret_of

SECONDS = 8
SCOPES = "openid profile email"
MOST_GROUPS = 2000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What authlib lets through of a provider that answers nonsense.
_BAD = (OAuthError, JoseError, RequestException, ValueError, KeyError, TypeError, RuntimeError, AttributeError)


def is_good_url(url: Any) -> bool:
    """HTTPS, but for a provider on this very machine."""
    try:
        parts = urlsplit(url)
        return (
            isinstance(url, str)
            and bool(parts.hostname)
            and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))
        )
    except ValueError:
        return False


def _client(provider: IdentityProvider) -> Any:
    known = provider.settings
    issuer = known.get("issuer", "").rstrip("/")
    client = OAuth().register(
        provider.pk.hex,
        client_id=known.get("client_id", ""),
        client_secret=secret_of(provider) or None,
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_kwargs={
            "scope": f"{SCOPES} {known.get('scopes', '')}".strip(),
            "code_challenge_method": "S256",
            "default_timeout": SECONDS,
        },
    )
    try:
        metadata = client.load_server_metadata()
    except _BAD as error:
        raise DirectoryProblem("The provider does not answer.", str(error)) from None
    if metadata.get("issuer", "").rstrip("/") != issuer:
        raise DirectoryProblem("The provider calls itself otherwise than its settings here.", f"issuer: {metadata.get('issuer')!r}")
    wrong = [name for name in ("authorization_endpoint", "token_endpoint", "jwks_uri") if not is_good_url(metadata.get(name))]
    if wrong:
        raise DirectoryProblem("The provider's addresses are not HTTPS.", ", ".join(wrong))
    return client


def begin(request: HttpRequest, provider: IdentityProvider, back: str) -> HttpResponse:
    """Sends the browser to the provider. Args: back: our address to which it returns, whole."""
    client = _client(provider)
    try:
        return client.authorize_redirect(request, back)
    except _BAD as error:
        raise DirectoryProblem("The provider cannot be used.", str(error)) from None


def finish(request: HttpRequest, provider: IdentityProvider) -> Person:
    """Who came back from the provider. Raises DirectoryProblem for anything but a good answer to our own question."""
    client = _client(provider)
    try:
        token = client.authorize_access_token(request)
        claims = dict(token.get("userinfo") or {})
        if claims.get("sub") and client.server_metadata.get("userinfo_endpoint"):
            more = dict(client.userinfo(token=token))
            if more.get("sub") != claims["sub"]:
                raise ValueError("the user's data are of somebody else")
            claims = more | claims
    except _BAD as error:
        raise DirectoryProblem("The provider did not confirm this sign-in. Begin again.", str(error) or type(error).__name__) from None
    return _person(provider, claims)


def _person(provider: IdentityProvider, claims: dict[str, Any]) -> Person:
    known = provider.settings
    username = claims.get(known.get("username_claim") or "preferred_username")
    if not claims.get("sub") or not isinstance(username, str) or not username.strip():
        raise DirectoryProblem("The provider does not say who you are.", f"claims: {', '.join(sorted(claims))}")
    groups = claims.get(known.get("groups_claim") or "groups") or []
    groups = groups if isinstance(groups, list) else [groups]
    return Person(
        external_id=str(claims["sub"])[:500],
        username=username,
        full_name=str(claims.get("name") or ""),
        email=str(claims.get("email") or ""),
        groups=tuple(str(group) for group in groups[:MOST_GROUPS]),
        entry=provider.settings.get("issuer", ""),
    )
