"""Pages of second factors: one's own, the question at sign-in, and the reset by an administrator."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts import signing_in
from accounts.factors import services, totp
from accounts.factors.forms import CodeForm, PasskeyForm
from accounts.factors.models import Authenticator, Passkey
from accounts.factors.rule import may_lack
from accounts.middleware import public
from accounts.models import User
from accounts.views.session import destination
from events.log import record
from portal.forms import add_errors
from portal.secrets import decrypt, encrypt

DRAFT = "authenticator_draft"
FRESH = timedelta(minutes=15)


def needs_fresh_sign_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Whoever finds an unlocked computer must not change what protects the account."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if services.has_factor(request.user) and timezone.now() - request.user_session.created_at > FRESH:  # type: ignore[attr-defined]
            messages.warning(request, "To change how you sign in, sign out and in again first.")
            return redirect("accounts:factors")
        return view(request, *args, **kwargs)

    return checked


def factors_page(request: HttpRequest, status: int = 200, **context: object) -> HttpResponse:
    context = {
        "authenticator": Authenticator.objects.filter(user=request.user).first(),
        "passkeys": request.user.passkeys.all(),
        "recovery_count": request.user.recovery_codes.count(),
        "required": services.is_required(request.user),
        "has_factor": services.has_factor(request.user),
        "passkey_form": PasskeyForm(),
    } | context
    return render(request, "accounts/factors.html", context, status=status)


@may_lack
@never_cache
def factors(request: HttpRequest) -> HttpResponse:
    return factors_page(request)


@may_lack
@never_cache
@needs_fresh_sign_in
@sensitive_post_parameters("code")
def set_up_app(request: HttpRequest) -> HttpResponse:
    """The QR code, and the first code in return. The secret waits in the session until then."""
    if Authenticator.objects.filter(user=request.user).exists():
        return redirect("accounts:factors")
    form = CodeForm(request.POST or None)
    secret = decrypt(request.session.get(DRAFT, "")) or totp.new_secret()
    request.session[DRAFT] = encrypt(secret)
    if request.method == "POST" and form.is_valid():
        try:
            codes = services.enrol_authenticator(request.user, secret, form.cleaned_data["code"])
        except ValidationError as error:
            add_errors(form, error)
        else:
            del request.session[DRAFT]
            return factors_page(request, codes=codes, done="The app is set up. From now on, signing in asks for its code.")
    context = {
        "form": form,
        "picture": totp.picture(request.user, secret),
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
    }
    return render(request, "accounts/set_up_app.html", context, status=422 if form.errors else 200)


def _done(request: HttpRequest, message: str, run: Callable[[], object]) -> HttpResponse:
    try:
        run()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, message)
    return redirect("accounts:factors")


@require_POST
@needs_fresh_sign_in
def remove_app(request: HttpRequest) -> HttpResponse:
    return _done(request, "The app's codes are worth nothing now.", lambda: services.remove_authenticator(request.user))


@require_POST
@needs_fresh_sign_in
def remove_passkey(request: HttpRequest, pk: str) -> HttpResponse:
    passkey = get_object_or_404(Passkey, pk=pk, user=request.user)
    return _done(request, f"The passkey {passkey} no longer works.", lambda: services.remove_passkey(request.user, passkey))


@require_POST
@never_cache
@needs_fresh_sign_in
def recovery_codes(request: HttpRequest) -> HttpResponse:
    try:
        return factors_page(request, codes=services.new_recovery_codes(request.user))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("accounts:factors")


@public
@never_cache
@sensitive_post_parameters("code")
def second_factor(request: HttpRequest) -> HttpResponse:
    """After the password: a code of the app, a recovery code, or a passkey."""
    if request.user.is_authenticated:
        return redirect(destination(request))
    user = signing_in.pending_user(request)
    if user is None:
        messages.warning(request, "That took too long: begin again.")
        return redirect("accounts:sign-in")
    form, status = CodeForm(request.POST or None), 200
    device = Authenticator.objects.filter(user=user).first()
    if request.method == "POST" and form.is_valid():
        if services.accept_code(user, form.cleaned_data["code"]):
            signing_in.complete(request, user, " with a code")
            return redirect(destination(request))
        record("session.refused", "A second factor was refused", severity="warning", obj=user, request=request)
        waits = device is not None and totp.must_wait(Authenticator.objects.get(pk=device.pk))
        form.add_error(
            "code",
            "Too many wrong codes. Try again in a few minutes, or use a recovery code."
            if waits
            else "This code is wrong, or was used already.",
        )
        status = 429 if waits else 422
    return second_factor_page(request, user, form, status)


def second_factor_page(request: HttpRequest, user: User, form: CodeForm, status: int = 200, problem: str = "") -> HttpResponse:
    """The question after the password."""
    context = {
        "form": form,
        "problem": problem,
        "next": request.POST.get("next") or request.GET.get("next", ""),
        "has_app": Authenticator.objects.filter(user=user).exists(),
        "has_passkeys": user.passkeys.exists(),
    }
    return render(request, "accounts/second_factor.html", context, status=status)


@require_POST
def reset(request: HttpRequest, pk: str) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    services.reset(request.user, user)
    messages.success(request, f"The second factors of {user} are gone, and their sessions have ended.")
    return redirect("accounts:user", pk=pk)
