"""Everything needs a signed-in user unless its view says otherwise."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, resolve_url


def public(view: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a view that a signed-out browser may reach."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


class RequireSignIn:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if request.user.is_authenticated:
            return self._lead_to_enrolment(request, view)
        if getattr(view, "is_public", False):
            return None
        if request.resolver_match and request.resolver_match.namespace == "api":
            return None  # the API takes tokens too, and answers 401 by itself
        sign_in = resolve_url(settings.LOGIN_URL)
        if request.headers.get("HX-Request"):
            # A partial page cannot show the sign-in form: the whole browser goes there.
            return HttpResponse(status=401, headers={"HX-Redirect": sign_in})
        return redirect_to_login(request.get_full_path(), sign_in)

    @staticmethod
    def _lead_to_enrolment(request: HttpRequest, view: Any) -> HttpResponse | None:
        """Whoever must have a second factor and has none sets one up before anything else."""
        row = getattr(request, "user_session", None)
        if row is None or not row.lacks_factor or getattr(view, "is_for_enrolment", False):
            return None
        if request.resolver_match and request.resolver_match.namespace == "api":
            return JsonResponse(
                {"title": "Set up a second factor first.", "status": 403}, status=403, content_type="application/problem+json"
            )
        enrolment = resolve_url("accounts:factors")
        return HttpResponse(status=403, headers={"HX-Redirect": enrolment}) if request.headers.get("HX-Request") else redirect(enrolment)
