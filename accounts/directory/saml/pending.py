"""What is kept between a question and its answer: the question in the session that asks, the answer for a moment under a code.

The provider's page posts the answer from another site, so the browser sends no session with it (SameSite=Lax). The answer waits
until the browser, sent on by us, comes back with its session; only the session that asked can use it. That is what keeps an
attacker from signing somebody in as the attacker: neither answer nor code is worth anything in a browser that did not ask.
"""

import secrets
import time
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest

ASKED = "saml_asked"
MINUTES, MOST_TABS = 15, 5  # for a sign-in with a second factor at the provider, in so many tabs at once
_SECONDS = 120


def remember(request: HttpRequest, name: str, provider: Any, **kept: Any) -> None:
    """This session has asked the question `name`."""
    asked = dict(list(request.session.get(ASKED, {}).items())[1 - MOST_TABS :])
    request.session[ASKED] = asked | {name: {"provider": str(provider.pk), "at": time.time(), **kept}}
    cache.set(f"saml-asked:{name}", str(provider.pk), MINUTES * 60)


def asked_here(request: HttpRequest, name: str, provider_id: Any) -> dict[str, Any] | None:
    """What was kept of this session's own question, once; None for anybody else's, an old one, and one of another provider."""
    asked = dict(request.session.get(ASKED, {}))
    known = asked.pop(name, None)
    if known is None or not cache.delete(f"saml-asked:{name}"):  # of two requests at once, one deletes it
        return None
    request.session[ASKED] = asked
    return known if known["provider"] == str(provider_id) and 0 <= time.time() - known["at"] < MINUTES * 60 else None


def keep(name: str, provider_id: Any, document: bytes) -> str:
    """A code for an answer to a question that was asked; empty for one that was not, and for a second answer to it."""
    if cache.get(f"saml-asked:{name}") != str(provider_id) or not cache.add(f"saml-answered:{name}", 1, MINUTES * 60):
        return ""
    code = secrets.token_urlsafe(24)
    cache.set(f"saml-answer:{code}", (name, document), _SECONDS)
    return code


def kept(code: str) -> tuple[str, bytes] | None:
    """(question, answer) under this code, once."""
    if not code or len(code) > 64 or not code.isascii() or not code.isprintable():
        return None
    found = cache.get(f"saml-answer:{code}")
    return found if found and cache.delete(f"saml-answer:{code}") else None
