"""Pages and verbs of sessions and of tokens, for administrators; one's own are on the account page."""

from datetime import timedelta

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts import service_accounts
from accounts.forms import ServiceAccountForm, TokenForm
from accounts.models import Token, User
from accounts.permissions import require
from accounts.sessions import services
from accounts.sessions.models import UserSession
from portal.pages import lists
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page

SESSIONS = lists.ListPage(
    title="Sessions",
    row_template="accounts/session_row.html",
    columns=(
        lists.Column("user", "User", "user__username", lambda row: row.user),
        lists.Column("device", "Device", "", lambda row: row.device),
        lists.Column("address", "Address", "address", lambda row: row.address),
        lists.Column("since", "Signed in", "created_at", lambda row: row.created_at.isoformat()),
        lists.Column("seen", "Last seen", "last_seen_at", lambda row: row.last_seen_at.isoformat()),
        lists.Column("end", ""),
    ),
    empty=lists.Empty("device-desktop", "Nobody is signed in", "Every browser that is signed in stands here, and can be signed out."),
    live="",
    filters={"user": FilterField("user__username"), "address": FilterField("address")},
    default_sort="-seen",
    free=("user__username", "address"),
    hint="Filter by user or address",
)
TOKENS = lists.ListPage(
    title="API tokens",
    row_template="accounts/token_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("user", "User", "user__username", lambda row: row.user),
        lists.Column("scope", "Scope", "scope", lambda row: row.scope),
        lists.Column("used", "Last used", "last_used_at", lambda row: row.last_used_at and row.last_used_at.isoformat()),
        lists.Column("until", "Valid until", "expires_at", lambda row: row.expires_at and row.expires_at.isoformat()),
        lists.Column("end", ""),
    ),
    empty=lists.Empty("key", "No API tokens yet", "Programs use the API by a token, which never does more than its user may."),
    live="",
    filters={"user": FilterField("user__username"), "scope": FilterField("scope")},
    free=("name", "user__username"),
    hint="Filter by name or user",
)


@require_GET
def sessions(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.manage")
    return lists.show(request, SESSIONS, UserSession.objects.select_related("user"), own=request.user_session)


@require_GET
def tokens(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.manage")
    return lists.show(request, TOKENS, Token.objects.select_related("user"))


def _back(request: HttpRequest, user_id: object) -> HttpResponse:
    if str(user_id) == str(request.user.pk):
        return redirect("accounts:me")
    return redirect("accounts:user", pk=user_id)


@require_POST
def end(request: HttpRequest, pk: str) -> HttpResponse:
    row = get_object_or_404(UserSession.objects.select_related("user"), pk=pk)
    user_id, device = row.user_id, row.device
    services.end(request.user, row)
    messages.success(request, f"{device} is signed out.")
    return _back(request, user_id)


@require_POST
def end_all(request: HttpRequest, pk: str) -> HttpResponse:
    """All sessions of a user; of one's own, all but this one."""
    user = get_object_or_404(User, pk=pk)
    count = services.end_all(request.user, user, keep=request.user_session.pk if user == request.user else None)  # type: ignore[attr-defined]
    messages.success(request, f"{count} session{'' if count == 1 else 's'} ended.")
    return _back(request, pk)


@require_POST
def delete_token(request: HttpRequest, pk: str) -> HttpResponse:
    token = get_object_or_404(Token.objects.select_related("user"), pk=pk)
    user_id = token.user_id
    service_accounts.remove_token(request.user, token)
    messages.success(request, f"The token {token.name} no longer works.")
    return _back(request, user_id)


def new_service_account(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.manage")

    def create(data: dict[str, str]) -> HttpResponse:
        account = service_accounts.create(request.user, data["username"], data["full_name"])
        messages.success(request, f"{account} was created. Give it what it needs, then make its first token.")
        return redirect("accounts:user", pk=account.pk)

    return form_page(
        request,
        ServiceAccountForm(request.POST or None),
        create,
        title="New service account",
        verb="Create",
        text="For a program: it has no password and signs in by API tokens alone.",
        back=reverse("accounts:users"),
    )


@require_POST
def new_service_token(request: HttpRequest, pk: str) -> HttpResponse:
    from accounts.views.people import user_page

    require(request.user, "user.manage")
    account, form = get_object_or_404(User, pk=pk), TokenForm(request.POST)
    if not form.is_valid():
        return user_page(request, account, 422, token_form=form)
    data = form.cleaned_data
    expires_at = timezone.now() + timedelta(days=int(data["lifetime_days"])) if data["lifetime_days"] else None
    try:
        _, text = service_accounts.new_token(request.user, account, data["name"], data["scope"], expires_at)
    except ValidationError as error:
        form.add_error(None, error)
        return user_page(request, account, 422, token_form=form)
    response = user_page(request, account, token_text=text)
    response["Cache-Control"] = "no-store"
    return response
