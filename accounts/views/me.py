"""One's own account: look, password, API tokens, and what one may do."""

from datetime import timedelta

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts import services, tokens
from accounts.factors.rule import may_lack
from accounts.factors.services import has_factor
from accounts.forms import ColumnsForm, PasswordForm, PreferencesForm, TokenForm
from accounts.models import Token
from accounts.sessions.services import end_all
from accounts.views.grants import described_grants
from accounts.views.session import destination
from events.log import record


def _page(request: HttpRequest, status: int = 200, **context: object) -> HttpResponse:
    user = request.user
    context = {
        "password_form": PasswordForm(),
        "token_form": TokenForm(initial={"lifetime_days": "90", "scope": "read"}),
        "tokens": user.tokens.all(),
        "has_factor": has_factor(user),
        "sessions": user.sessions.all(),
        "grants": described_grants(user=user),
        "themes": PreferencesForm.base_fields["theme"].choices,
    } | context
    return render(request, "accounts/me.html", context, status=status)


def me(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
@sensitive_post_parameters("current", "password")
def password(request: HttpRequest) -> HttpResponse:
    form = PasswordForm(request.POST)
    if form.is_valid() and not request.user.check_password(form.cleaned_data["current"]):
        form.add_error("current", "This is not your current password.")
    if form.is_valid():
        try:
            services.set_password(request.user, request.user, form.cleaned_data["password"])
        except ValidationError as error:
            form.add_error(None, error)
        else:
            update_session_auth_hash(request, request.user)
            end_all(request.user, request.user, keep=request.user_session.pk)
            messages.success(request, "Your password was changed; your other sessions have ended.")
            return redirect("accounts:me")
    return _page(request, 422, password_form=form)


@require_POST
@may_lack
def preferences(request: HttpRequest) -> HttpResponse:
    form = PreferencesForm(request.POST)
    if not form.is_valid():
        return HttpResponse("unknown theme", status=422, content_type="text/plain")
    request.user.preferences["theme"] = form.cleaned_data["theme"]
    request.user.save(update_fields=["preferences"])
    return HttpResponse(status=204) if request.headers.get("HX-Request") else redirect("accounts:me")


@require_POST
def columns(request: HttpRequest) -> HttpResponse:
    """Remembers which columns of a list this user hides, and goes back to the list."""
    form = ColumnsForm(request.POST)
    if not form.is_valid():
        return HttpResponse("These are not columns of a list.", status=422, content_type="text/plain")
    hidden = request.user.preferences.setdefault("hidden_columns", {})
    hidden[form.cleaned_data["list"]] = sorted(form.names("known") - form.names("shown"))
    while len(hidden) > ColumnsForm.MOST:
        hidden.pop(next(iter(hidden)))
    request.user.save(update_fields=["preferences"])
    return redirect(destination(request))


@require_POST
def new_token(request: HttpRequest) -> HttpResponse:
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _page(request, 422, token_form=form)
    days = form.cleaned_data["lifetime_days"]
    expires_at = timezone.now() + timedelta(days=int(days)) if days else None
    token, text = tokens.create(request.user, form.cleaned_data["name"], expires_at, form.cleaned_data["scope"])
    record("token.created", f"API token {token.name} was created", obj=request.user, user=request.user, request=request)
    response = _page(request, token_text=text)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def delete_token(request: HttpRequest, pk: str) -> HttpResponse:
    token = get_object_or_404(Token, pk=pk, user=request.user)
    record("token.removed", f"API token {token.name} was removed", obj=request.user, user=request.user, request=request)
    token.delete()
    messages.success(request, f"The token {token.name} no longer works.")
    return redirect("accounts:me")
