"""The question to a SAML provider, and who its answer says is there. Signatures are checked by pysaml2, which asks xmlsec1."""

import base64
import logging
import secrets
import time
from calendar import timegm
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, SAMLError
from saml2.client import Saml2Client
from saml2.config import SPConfig
from saml2.saml import NAMEID_FORMAT_TRANSIENT, SCM_BEARER
from saml2.time_util import str_to_time

from accounts.directory.models import IdentityProvider
from accounts.directory.person import DirectoryProblem, Person
from accounts.directory.saml import metadata
from accounts.directory.saml.addresses import Self
from accounts.directory.saml.document import BadDocument, require_plain_response

logging.getLogger("saml2").setLevel(logging.CRITICAL)  # it writes whole answers into the log
CLOCKS_DIFFER = 60  # seconds that the provider's clock and ours may
REMEMBERED = 24 * 3600  # seconds for which an assertion's id is; none is good for longer
MOST_GROUPS = 2000


def _client(provider: IdentityProvider, ours: Self) -> Saml2Client:
    known = provider.settings
    theirs = metadata.of_provider(known.get("entity_id", ""), known.get("sso_url", ""), known.get("certificates", ""))
    config = SPConfig()
    config.load(
        {
            "entityid": ours.entity_id,
            "metadata": {"inline": [theirs]},
            "accepted_time_diff": CLOCKS_DIFFER,
            "allow_unknown_attributes": True,
            "service": {
                "sp": {
                    "endpoints": {"assertion_consumer_service": [(ours.answer_url, BINDING_HTTP_POST)]},
                    "allow_unsolicited": False,
                    "authn_requests_signed": False,
                    "want_assertions_signed": True,
                    "want_response_signed": False,
                    "only_use_keys_in_metadata": True,
                }
            },
        }
    )
    return Saml2Client(config)


def question(provider: IdentityProvider, ours: Self) -> tuple[str, str]:
    """(id of the question, address to which the browser takes it)."""
    try:
        client = _client(provider, ours)
        name = f"_{secrets.token_hex(20)}"
        target = provider.settings["sso_url"]
        _, asked = client.create_authn_request(target, message_id=name, binding=BINDING_HTTP_POST, sign=False, provider_name="Vireo")
        sent = client.apply_binding(BINDING_HTTP_REDIRECT, str(asked), target, relay_state="", sign=False)
        return name, dict(sent["headers"])["Location"]
    except Exception as error:  # noqa: BLE001 # the library raises whatever its parts do, bare Exception among it
        raise DirectoryProblem("The provider cannot be used.", str(error) or type(error).__name__) from None


def answer(provider: IdentityProvider, ours: Self, name: str, document: bytes) -> Person:
    """Who is there, by an answer to the question `name`. Raises DirectoryProblem for any other document."""
    try:
        require_plain_response(document)
        told = _client(provider, ours).parse_authn_request_response(
            base64.b64encode(document).decode(), BINDING_HTTP_POST, outstanding={name: "/"}
        )
        if told is None or told.assertion is None:
            raise SAMLError("the answer is for somebody else, or of another time")
        _require_ours(told, provider, ours, name)
        person = _person(provider, told.assertion)
        _require_first(provider, told.assertion)
    except DirectoryProblem:
        raise
    except Exception as error:  # noqa: BLE001 # the library raises whatever its parts do, bare Exception among it
        raise DirectoryProblem("The provider did not confirm this sign-in. Begin again.", _cause(error)) from None
    return person


def _cause(error: Exception) -> str:
    """For administrators; the library puts whole documents into some errors."""
    if isinstance(error, BadDocument | SAMLError):
        return str(error)[:300] if len(str(error)) <= 2000 else type(error).__name__
    return f"{type(error).__name__}: {str(error)[:200]}"


def _require_ours(told: Any, provider: IdentityProvider, ours: Self, name: str) -> None:
    """What the library lets pass when it is missing: who says it, to whom, until when, and in answer to what."""
    assertion = told.assertion
    if assertion.signature is None:
        raise SAMLError("the assertion is not signed")
    said_by = {assertion.issuer.text.strip(), told.response.issuer.text.strip() if told.response.issuer else assertion.issuer.text.strip()}
    if said_by != {provider.settings["entity_id"]}:
        raise SAMLError("the assertion is of another provider")
    if told.in_response_to != name:
        raise SAMLError("the answer is to another question")
    restrictions = assertion.conditions.audience_restriction if assertion.conditions else []
    audiences = [{(each.text or "").strip() for each in restriction.audience} for restriction in restrictions]
    if not audiences or any(ours.entity_id not in each for each in audiences):
        raise SAMLError("the assertion is not meant for Vireo")
    confirmed = [each for each in assertion.subject.subject_confirmation if each.method == SCM_BEARER]
    if not confirmed:
        raise SAMLError("the assertion is not for who brings it")
    for each in confirmed:
        data = each.subject_confirmation_data
        if data is None or data.recipient != ours.answer_url or data.in_response_to != name or not data.not_on_or_after:
            raise SAMLError("the assertion is not confirmed for this sign-in")


def _require_first(provider: IdentityProvider, assertion: Any) -> None:
    """An assertion is good once, whoever brings it. Without the memory for that nobody is let in."""
    confirmed = [each.subject_confirmation_data for each in assertion.subject.subject_confirmation if each.method == SCM_BEARER]
    lasts = max(timegm(str_to_time(each.not_on_or_after)) for each in confirmed)
    if lasts > time.time() + REMEMBERED - CLOCKS_DIFFER:
        raise SAMLError("the assertion is good for too long")
    try:
        first = cache.add(f"saml-assertion:{provider.pk.hex}:{assertion.id}", 1, REMEMBERED)
    except RedisError as error:
        raise DirectoryProblem("Sign-in by this provider is not possible at the moment. Try again in a minute.", str(error)) from None
    if not first:
        raise SAMLError("the assertion was used before")


def _person(provider: IdentityProvider, assertion: Any) -> Person:
    known = provider.settings
    told = _attributes(assertion)
    name_id = assertion.subject.name_id
    passing = name_id is None or name_id.format == NAMEID_FORMAT_TRANSIENT
    plain_name = "" if passing else (name_id.text or "").strip()

    def one(setting: str, default: str) -> str:
        values = told.get(known.get(setting) or default, [])
        return values[0] if len(values) == 1 else ""

    lasting = one("id_attribute", "") if known.get("id_attribute") else plain_name
    if not lasting or len(lasting) > 500:
        raise DirectoryProblem("The provider does not say who you are.", f"There is no lasting name. Attributes: {', '.join(sorted(told))}")
    username = one("username_attribute", "") if known.get("username_attribute") else plain_name
    if not username:
        raise DirectoryProblem("The provider does not say who you are.", f"There is no user name. Attributes: {', '.join(sorted(told))}")
    return Person(
        external_id=lasting,
        username=username,
        full_name=one("name_attribute", "displayName"),
        email=one("mail_attribute", "mail"),
        groups=tuple(told.get(known.get("groups_attribute") or "groups", [])[:MOST_GROUPS]),
        entry=known.get("entity_id", ""),
    )


def _attributes(assertion: Any) -> dict[str, list[str]]:
    """Values by an attribute's name, and by its friendly name where that is no other attribute's name."""
    by_name: dict[str, list[str]] = {}
    friendly: dict[str, list[str]] = {}
    for statement in assertion.attribute_statement:
        for attribute in statement.attribute:
            values = [text for each in attribute.attribute_value if (text := (each.text or "").strip())]
            by_name.setdefault(attribute.name, []).extend(values)
            if attribute.friendly_name and attribute.friendly_name != attribute.name:
                friendly.setdefault(attribute.friendly_name, []).extend(values)
    return friendly | by_name
