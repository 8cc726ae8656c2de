"""Adding a passkey, and signing in with one."""

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts import signing_in
from accounts.factors import passkeys, services
from accounts.factors.forms import CodeForm, PasskeyForm
from accounts.factors.rule import may_lack
from accounts.factors.views import factors_page, needs_fresh_sign_in, second_factor_page
from accounts.middleware import public
from accounts.views.session import destination
from events.log import record
from portal.forms import add_errors


def _json(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="application/json")


@require_POST
@may_lack
@never_cache
@needs_fresh_sign_in
def new_options(request: HttpRequest) -> HttpResponse:
    return _json(passkeys.registration_options(request, request.user))


@require_POST
@may_lack
@never_cache
@needs_fresh_sign_in
def add(request: HttpRequest) -> HttpResponse:
    form = PasskeyForm(request.POST)
    if form.is_valid():
        try:
            made = passkeys.register(request, request.user, form.cleaned_data["name"], form.cleaned_data["credential"])
        except ValidationError as error:
            add_errors(form, error)
        else:
            record("second_factor.added", f"{request.user} added the passkey {made}", obj=request.user, user=request.user, request=request)
            codes = services.first_recovery_codes(request.user)
            return factors_page(request, codes=codes, done=f"The passkey {made} is set up. From now on, signing in asks for it.")
    return factors_page(request, 422, passkey_form=form)


@public
@require_POST
@never_cache
def options(request: HttpRequest) -> HttpResponse:
    user = signing_in.pending_user(request)
    if user is None:
        return HttpResponse("That took too long: begin again.", status=403, content_type="text/plain")
    return _json(passkeys.authentication_options(request, user))


@public
@require_POST
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    user = signing_in.pending_user(request)
    if user is None:
        return redirect("accounts:sign-in")
    if passkeys.accept(request, user, request.POST.get("credential", "")[:20000]):
        signing_in.complete(request, user, " with a passkey")
        return redirect(destination(request))
    record("session.refused", "A passkey was refused", severity="warning", obj=user, request=request)
    form = CodeForm()
    return second_factor_page(request, user, form, 422, problem="This passkey was not accepted. Try again, or use a code.")
