"""To an OpenID Connect provider and back: as a sign-in, or as an administrator's test that signs nobody in."""

import logging

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, resolve_url
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import signing_in
from accounts.directory import oidc
from accounts.directory.admission import admit
from accounts.directory.models import IdentityProvider, ProviderKind
from accounts.directory.person import DirectoryProblem, Person
from accounts.directory.services import Answer, leads_to
from accounts.directory.views import provider_page
from accounts.middleware import public
from accounts.permissions import require
from accounts.views.session import destination, safe_destination
from events.log import record

log = logging.getLogger(__name__)
NEXT, TEST = "oidc_next", "oidc_test"


def _provider(pk: str, *, enabled: bool) -> IdentityProvider:
    found = IdentityProvider.objects.filter(kind=ProviderKind.OIDC)
    return get_object_or_404(found.filter(enabled=True) if enabled else found, pk=pk)


def _to(request: HttpRequest, provider: IdentityProvider) -> HttpResponse:
    return oidc.begin(request, provider, request.build_absolute_uri(reverse("accounts:oidc-return", args=[provider.pk])))


@public
@require_GET
@never_cache
def sign_in(request: HttpRequest, pk: str) -> HttpResponse:
    """Off to the provider."""
    if request.user.is_authenticated:
        return redirect(destination(request))
    provider = _provider(pk, enabled=True)
    request.session.pop(TEST, None)
    request.session[NEXT] = destination(request)
    try:
        return _to(request, provider)
    except DirectoryProblem as problem:
        return _refuse(request, provider, problem)


@require_GET
@never_cache
def test(request: HttpRequest, pk: str) -> HttpResponse:
    """The same way, by an administrator who wants to see what the provider answers."""
    require(request.user, "user.manage")
    provider = _provider(pk, enabled=False)
    request.session[TEST] = str(provider.pk)
    try:
        return _to(request, provider)
    except DirectoryProblem as problem:
        return provider_page(request, provider, answer=Answer(problem=problem.text, cause=problem.cause))


@public
@require_GET
@never_cache
def come_back(request: HttpRequest, pk: str) -> HttpResponse:
    """Back from the provider."""
    if request.user.is_authenticated:
        return _tested(request, pk) if request.session.pop(TEST, "") == str(pk) else redirect("portal:dashboard")
    provider = _provider(pk, enabled=True)
    try:
        user = admit(provider, oidc.finish(request, provider))
    except DirectoryProblem as problem:
        return _refuse(request, provider, problem)
    except ValidationError as error:
        return _refuse(request, provider, DirectoryProblem(" ".join(error.messages)))
    if not user.is_active:
        return _refuse(request, provider, DirectoryProblem("This account may not sign in."))
    user.backend = "accounts.directory.backend.DirectoryBackend"
    wanted = safe_destination(request, request.session.pop(NEXT, ""))
    if signing_in.begin(request, user):
        return redirect(wanted)
    return redirect(f"{resolve_url('accounts:second-factor')}?{urlencode({'next': wanted})}")


def _refuse(request: HttpRequest, provider: IdentityProvider, problem: DirectoryProblem) -> HttpResponse:
    log.warning("sign-in by %s failed: %s %r", provider, problem.text, problem.cause)
    record("session.refused", f"A sign-in by {provider} was refused", severity="warning", request=request)
    messages.error(request, f"{provider}: {problem.text}")
    return redirect("accounts:sign-in")


def _tested(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.manage")
    provider, answer = _provider(pk, enabled=False), Answer()
    try:
        person: Person = oidc.finish(request, provider)
    except DirectoryProblem as problem:
        answer.problem, answer.cause = problem.text, problem.cause
    else:
        answer.person, answer.leads_to = person, leads_to(provider, person)
        answer.steps.append("The provider's answer is signed, recent, and meant for Vireo. Nobody was signed in by it.")
    record("identity_provider.tested", f"{provider} was tested", obj=provider, user=request.user, request=request)
    response = provider_page(request, provider, answer=answer)
    response["Cache-Control"] = "no-store"
    return response
