"""What a browser does between Vireo and a SAML provider."""

import base64
from typing import Any

from django.http import HttpResponse
from django.test import Client

from accounts.directory.models import IdentityProvider
from tests.saml_provider import Provider

# What the sign-in page says.
UNCONFIRMED, UNASKED = "did not confirm this sign-in. Begin again.", "not one to a question of this browser. Begin again."


def vireo(client: Client, provider: IdentityProvider) -> str:
    """Vireo's own metadata, as the provider reads them."""
    return client.get(f"/sign-in/saml/{provider.pk}/metadata/").content.decode()


def start(client: Client, provider: IdentityProvider, next_: str = "/vms/") -> str:
    answer = client.get(f"/sign-in/saml/{provider.pk}/", {"next": next_})
    assert answer.status_code == 302
    return answer.headers["Location"]


def post(client: Client, provider: IdentityProvider, document: bytes, relay_state: str = "") -> HttpResponse:
    """The provider's page posts, from another site and so without cookies; the browser follows, with them."""
    sent = {"SAMLResponse": base64.b64encode(document).decode(), "RelayState": relay_state}
    answer = Client().post(f"/sign-in/saml/{provider.pk}/answer/", sent)
    assert answer.status_code == 303
    return client.get(answer.headers["Location"])


def sign_in(
    client: Client, idp: Provider, provider: IdentityProvider, next_: str = "/vms/", relay_state: str = "", **more: Any
) -> HttpResponse:
    document = idp.answer(vireo(client, provider), start(client, provider, next_), **more)
    return post(client, provider, document, relay_state)


def is_in(client: Client) -> bool:
    return client.get("/me/").status_code == 200


def refused(client: Client, answer: HttpResponse, words: str = "") -> bool:
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/sign-in/"), answer
    page = client.get("/sign-in/").content.decode()
    assert words in page and "Example: " in page
    assert not is_in(client)
    return True
