"""Signing in and out."""

from urllib.parse import urlencode

from django.contrib.auth import authenticate, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts import signing_in, throttle
from accounts.directory.models import IdentityProvider, ProviderKind
from accounts.factors.rule import may_lack
from accounts.forms import SignInForm
from accounts.looking_middleware import as_oneself
from accounts.middleware import public
from accounts.models import User
from events.log import record
from portal.live import publish_to


def destination(request: HttpRequest) -> str:
    """Where the browser wanted to go, if that is on this site."""
    return safe_destination(request, request.POST.get("next") or request.GET.get("next") or "")


def safe_destination(request: HttpRequest, wanted: str) -> str:
    """`wanted` if that is on this site; the dashboard otherwise."""
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        return wanted
    return resolve_url("portal:dashboard")


@public
@never_cache
@sensitive_post_parameters("password")
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect(destination(request))
    form = SignInForm(request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        username = form.cleaned_data["username"]
        if throttle.is_blocked(request, username):
            form.add_error(None, "Too many failed attempts. Try again in a few minutes.")
            status = 429
        elif user := authenticate(request, username=username, password=form.cleaned_data["password"]):
            throttle.succeeded(request, username)
            if signing_in.begin(request, user):
                return redirect(destination(request))
            return redirect(f"{resolve_url('accounts:second-factor')}?{urlencode({'next': destination(request)})}")
        else:
            throttle.failed(request, username)
            known = User.objects.filter(username__iexact=username).first()
            details = {"username": username[:150]}
            record("session.refused", "A sign-in was refused", severity="warning", obj=known, request=request, details=details)
            form.add_error(None, getattr(request, "sign_in_problem", "") or "This user name and password do not match.")
            status = 422
    context = {
        "form": form,
        "next": request.POST.get("next") or request.GET.get("next", ""),
        "providers": IdentityProvider.objects.filter(kind__in=ProviderKind.elsewhere(), enabled=True),
    }
    return render(request, "accounts/sign_in.html", context, status=status)


@as_oneself
@require_POST
@may_lack
def sign_out(request: HttpRequest) -> HttpResponse:
    record("session.closed", f"{request.user} signed out", obj=request.user, user=request.user, request=request)
    user_id = request.user.pk
    logout(request)
    publish_to(f"user:{user_id}", {"type": "live.recheck"})  # what this session has open elsewhere closes
    return redirect("accounts:sign-in")
