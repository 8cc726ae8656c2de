"""The pages of sign-in providers."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts.directory import services
from accounts.directory.forms import LdapForm, MappingForm, OidcForm, TrialForm
from accounts.directory.models import GroupMapping, IdentityProvider, ProviderKind
from accounts.directory.saml.forms import SamlForm
from accounts.directory.saml.metadata import described, warnings
from accounts.permissions import require
from portal.forms import add_errors
from portal.pages.forms import form_page

FORMS = {ProviderKind.LDAP: LdapForm, ProviderKind.OIDC: OidcForm, ProviderKind.SAML: SamlForm}


def providers(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.manage")
    return render(request, "accounts/providers.html", {"providers": IdentityProvider.objects.prefetch_related("mappings", "users")})


@sensitive_post_parameters("secret")
def new_provider(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.manage")
    wanted = request.GET.get("kind")
    kind = ProviderKind(wanted) if wanted in ProviderKind.values else ProviderKind.LDAP
    return _form(request, IdentityProvider(kind=kind), f"Sign-in by {kind.label}", "Set up", reverse("accounts:providers"))


@sensitive_post_parameters("secret")
def edit_provider(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.manage")
    provider = get_object_or_404(IdentityProvider, pk=pk)
    return _form(request, provider, f"Sign-in by {provider}", "Save", reverse("accounts:provider", args=[pk]))


def _form(request: HttpRequest, provider: IdentityProvider, title: str, verb: str, back: str) -> HttpResponse:
    form = FORMS[provider.kind](request.POST or None, provider=provider)

    def save(data: dict[str, object]) -> HttpResponse:
        services.save_provider(
            request.user, provider, name=data["name"], enabled=data["enabled"], settings=form.settings(), secret=data["secret"]
        )
        messages.success(request, f"{provider} was saved. Test it below before others rely on it.")
        return redirect("accounts:provider", pk=provider.pk)

    return form_page(request, form, save, title=title, verb=verb, back=back)


def provider_page(request: HttpRequest, provider: IdentityProvider, status: int = 200, **context: object) -> HttpResponse:
    """A provider's page; `context` is what a refused form or a test adds to it."""
    context = {
        "provider": provider,
        "mappings": provider.mappings.select_related("group"),
        "mapping_form": MappingForm(),
        "trial_form": TrialForm(),
        "return_url": request.build_absolute_uri(reverse("accounts:oidc-return", args=[provider.pk])),
        "answer_url": request.build_absolute_uri(reverse("accounts:saml-answer", args=[provider.pk])),
        "metadata_url": request.build_absolute_uri(reverse("accounts:saml-metadata", args=[provider.pk])),
        "warnings": warnings(provider.settings.get("certificates", "")) if provider.kind == ProviderKind.SAML else [],
        "certificates": described(provider.settings.get("certificates", "")) if provider.kind == ProviderKind.SAML else [],
        "user_count": provider.users.count(),
    } | context
    return render(request, "accounts/provider.html", context, status=status)


def provider(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.manage")
    return provider_page(request, get_object_or_404(IdentityProvider, pk=pk))


@require_POST
@sensitive_post_parameters("password")
def try_provider(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.manage")
    shown, form = get_object_or_404(IdentityProvider, pk=pk), TrialForm(request.POST)
    if not form.is_valid():
        return provider_page(request, shown, 422, trial_form=form)
    answer = services.try_provider(request.user, shown, form.cleaned_data["username"], form.cleaned_data["password"])
    response = provider_page(request, shown, answer=answer, trial_form=TrialForm(initial={"username": form.cleaned_data["username"]}))
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def remove_provider(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.manage")
    shown = get_object_or_404(IdentityProvider, pk=pk)
    try:
        services.remove_provider(request.user, shown)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("accounts:provider", pk=pk)
    messages.success(request, f"{shown} was removed.")
    return redirect("accounts:providers")


@require_POST
def map_group(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.manage")
    shown, form = get_object_or_404(IdentityProvider, pk=pk), MappingForm(request.POST)
    if form.is_valid():
        try:
            mapping = services.map_group(request.user, shown, form.cleaned_data["directory_group"], form.cleaned_data["group"])
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"Whoever is in {mapping.directory_group} is in {mapping.group} from their next sign-in on.")
            return redirect("accounts:provider", pk=pk)
    return provider_page(request, shown, 422, mapping_form=form)


@require_POST
def unmap_group(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.manage")
    mapping = get_object_or_404(GroupMapping.objects.select_related("provider", "group"), pk=pk)
    back = mapping.provider_id
    try:
        services.unmap_group(request.user, mapping)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "The mapping was removed, and whom it brought is out of the group.")
    return redirect("accounts:provider", pk=back)
