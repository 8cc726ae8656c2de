"""To a SAML provider and back: as a sign-in, or as an administrator's test that signs nobody in."""

import logging

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, resolve_url
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from redis.exceptions import RedisError

from accounts import signing_in
from accounts.directory.admission import admit
from accounts.directory.models import IdentityProvider, ProviderKind
from accounts.directory.person import DirectoryProblem, Person
from accounts.directory.saml import pending
from accounts.directory.saml.addresses import Self
from accounts.directory.saml.document import BadDocument, decoded, question_of
from accounts.directory.saml.metadata import described, of_vireo
from accounts.directory.services import Answer, leads_to
from accounts.directory.views import provider_page
from accounts.middleware import public
from accounts.permissions import require
from accounts.views.session import destination, safe_destination
from events.log import record

log = logging.getLogger(__name__)
NOT_ANSWERED = "The provider's answer is not one to a question of this browser. Begin again."
SWITCHED_OFF = "Sign-in by this provider is switched off. Ask an administrator."
NO_MEMORY = "Sign-in by this provider is not possible at the moment. Try again in a minute."


def _provider(pk: str) -> IdentityProvider:
    return get_object_or_404(IdentityProvider, pk=pk, kind=ProviderKind.SAML)


def _ours(request: HttpRequest, pk: object) -> Self:
    return Self(
        entity_id=request.build_absolute_uri(reverse("accounts:saml-metadata", args=[pk])),
        answer_url=request.build_absolute_uri(reverse("accounts:saml-answer", args=[pk])),
    )


@public
@require_GET
def metadata(request: HttpRequest, pk: str) -> HttpResponse:
    """Our side, for the provider to read. Nothing in it is secret, and it is needed before sign-in is switched on."""
    ours = _ours(request, _provider(pk).pk)
    return HttpResponse(of_vireo(ours.entity_id, ours.answer_url), content_type="application/samlmetadata+xml")


def _to(request: HttpRequest, provider: IdentityProvider, **kept: object) -> HttpResponse:
    from accounts.directory.saml import exchange  # its library is 20 MiB that only a sign-in by SAML needs

    name, address = exchange.question(provider, _ours(request, provider.pk))
    try:
        pending.remember(request, name, provider, **kept)
    except RedisError as error:
        raise DirectoryProblem(NO_MEMORY, str(error)) from None
    return redirect(address)


@public
@require_GET
@never_cache
def sign_in(request: HttpRequest, pk: str) -> HttpResponse:
    """Off to the provider."""
    if request.user.is_authenticated:
        return redirect(destination(request))
    provider = _provider(pk)
    if not provider.enabled:
        return _refuse(request, provider, DirectoryProblem(SWITCHED_OFF))
    try:
        return _to(request, provider, next=destination(request))
    except DirectoryProblem as problem:
        return _refuse(request, provider, problem)


@require_GET
@never_cache
def test(request: HttpRequest, pk: str) -> HttpResponse:
    """The same way, by an administrator who wants to see what the provider answers."""
    require(request.user, "user.manage")
    provider = _provider(pk)
    try:
        return _to(request, provider, test=True)
    except DirectoryProblem as problem:
        return provider_page(request, provider, answer=Answer(problem=problem.text, cause=problem.cause))


@csrf_exempt
@public
@require_POST
@never_cache
def answer(request: HttpRequest, pk: str) -> HttpResponse:
    """The provider's page posts here, without our session: the answer is put aside, and the browser sent on to fetch its session.

    The session is not touched: one begun here would take the place of the browser's own. RelayState is not looked at.
    """
    provider = _provider(pk)
    try:
        document = decoded(request.POST.get("SAMLResponse", ""))
        code = pending.keep(question_of(document), provider.pk, document)
    except (BadDocument, RedisError) as problem:
        log.warning("an answer of %s was refused: %r", provider, str(problem))
        code = ""
    target = reverse("accounts:saml-return", args=[provider.pk])
    return HttpResponse(status=303, headers={"Location": f"{target}?{urlencode({'code': code})}"})


@public
@require_GET
@never_cache
def come_back(request: HttpRequest, pk: str) -> HttpResponse:
    """Back in this site, with the session that asked."""
    provider = _provider(pk)
    if not provider.enabled and not request.user.is_authenticated:
        return _refuse(request, provider, DirectoryProblem(SWITCHED_OFF))
    try:
        name, document = pending.kept(request.GET.get("code", "")) or ("", b"")
        asked = pending.asked_here(request, name, provider.pk)
    except RedisError as error:
        return _refuse(request, provider, DirectoryProblem(NO_MEMORY, str(error)))
    if request.user.is_authenticated:
        return _tested(request, provider, name, document) if asked and asked.get("test") else redirect("portal:dashboard")
    if asked is None or asked.get("test"):
        return _refuse(request, provider, DirectoryProblem(NOT_ANSWERED))
    try:
        user = admit(provider, _read(request, provider, name, document))
    except DirectoryProblem as problem:
        return _refuse(request, provider, problem)
    except ValidationError as error:
        return _refuse(request, provider, DirectoryProblem(" ".join(error.messages)))
    if not user.is_active:
        return _refuse(request, provider, DirectoryProblem("This account may not sign in."))
    user.backend = "accounts.directory.backend.DirectoryBackend"
    wanted = safe_destination(request, asked.get("next", ""))
    if signing_in.begin(request, user):
        return redirect(wanted)
    return redirect(f"{resolve_url('accounts:second-factor')}?{urlencode({'next': wanted})}")


def _read(request: HttpRequest, provider: IdentityProvider, name: str, document: bytes) -> Person:
    from accounts.directory.saml import exchange

    return exchange.answer(provider, _ours(request, provider.pk), name, document)


def _refuse(request: HttpRequest, provider: IdentityProvider, problem: DirectoryProblem) -> HttpResponse:
    log.warning("sign-in by %s failed: %s %r", provider, problem.text, problem.cause)
    record("session.refused", f"A sign-in by {provider} was refused", severity="warning", request=request)
    messages.error(request, f"{provider}: {problem.text}")
    return redirect("accounts:sign-in")


def _tested(request: HttpRequest, provider: IdentityProvider, name: str, document: bytes) -> HttpResponse:
    require(request.user, "user.manage")
    known = provider.settings
    said = Answer(steps=[f"It calls itself {known['entity_id']}, and people sign in to it at {known['sso_url']}."])
    said.steps += [f"It signs with the certificate of {each}." for each in described(known["certificates"])]
    try:
        person = _read(request, provider, name, document)
    except DirectoryProblem as problem:
        said.problem, said.cause = problem.text, problem.cause
    else:
        said.person, said.leads_to = person, leads_to(provider, person)
        said.steps.append("The provider's answer is signed, recent, and meant for Vireo. Nobody was signed in by it.")
    record("identity_provider.tested", f"{provider} was tested", obj=provider, user=request.user, request=request)
    response = provider_page(request, provider, answer=said)
    response["Cache-Control"] = "no-store"
    return response
