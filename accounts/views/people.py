"""Users and groups."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts import services
from accounts.factors.services import has_factor
from accounts.forms import GrantForm, GroupForm, NewUserForm, TokenForm
from accounts.models import Group, ObjectType, User
from accounts.permissions import allowed, require
from accounts.views.grants import described_grants


def users(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.view")
    found = User.objects.annotate(group_count=Count("member_of", distinct=True), grant_count=Count("grants", distinct=True))
    if text := request.GET.get("q", "").strip():
        found = found.filter(username__icontains=text) | found.filter(full_name__icontains=text)
    return render(request, "accounts/users.html", {"users": found, "q": text, "may_manage": allowed(request.user, "user.manage")})


@sensitive_post_parameters("password")
def new_user(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.manage")
    form = NewUserForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = services.create_user(request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"{user} can sign in now. What they see comes from grants.")
            return redirect("accounts:user", pk=user.pk)
    return render(request, "accounts/new_user.html", {"form": form}, status=422 if form.errors else 200)


def user(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "user.view")
    return user_page(request, get_object_or_404(User.objects.select_related("source"), pk=pk))


def user_page(request: HttpRequest, shown: User, status: int = 200, **more: object) -> HttpResponse:
    """The page of a user; `more` is what a refused form or a new token adds to it."""
    context = {
        "shown": shown,
        "sessions": shown.sessions.all(),
        "has_factor": has_factor(shown),
        "tokens": shown.tokens.all(),
        "token_form": TokenForm(initial={"lifetime_days": "365", "scope": "read"}),
        "grants": described_grants(user=shown),
        "grant_form": GrantForm(initial={"user": shown, "object_type": ObjectType.SYSTEM}),
        "may_manage": allowed(request.user, "user.manage"),
        "may_grant": allowed(request.user, "grant.manage"),
    }
    return render(request, "accounts/user.html", context | more, status=status)


def _answer(request: HttpRequest, message: str, action: object, *args: object) -> None:
    """Runs a service's verb; its refusal becomes a message where the user looks."""
    try:
        action(*args)  # type: ignore[operator]
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, message)


@require_POST
def set_active(request: HttpRequest, pk: str) -> HttpResponse:
    shown = get_object_or_404(User, pk=pk)
    active = request.POST.get("active") == "1"
    _answer(
        request, f"{shown} {'may sign in again' if active else 'may no longer sign in'}.", services.set_active, request.user, shown, active
    )
    return redirect("accounts:user", pk=pk)


@require_POST
def delete_user(request: HttpRequest, pk: str) -> HttpResponse:
    shown = get_object_or_404(User, pk=pk)
    _answer(request, f"{shown} was removed. Their VMs stay.", services.delete_user, request.user, shown)
    return redirect("accounts:users")


def groups(request: HttpRequest) -> HttpResponse:
    require(request.user, "user.view")
    found = Group.objects.annotate(member_count=Count("members", distinct=True), grant_count=Count("grants", distinct=True))
    return render(request, "accounts/groups.html", {"groups": found, "may_manage": allowed(request.user, "user.manage")})


def group(request: HttpRequest, pk: str | None = None) -> HttpResponse:
    """A group's page and form; without a key, the form of a new one."""
    require(request.user, "user.view" if pk and request.method == "GET" else "user.manage")
    shown = get_object_or_404(Group, pk=pk) if pk else Group()
    form = GroupForm(request.POST or None, instance=shown)
    if request.method == "POST" and form.is_valid():
        try:
            services.save_group(request.user, shown, list(form.cleaned_data["members"]))
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"{shown} was saved.")
            return redirect("accounts:group", pk=shown.pk)
    context = {
        "shown": shown if pk else None,
        "form": form,
        "grants": described_grants(group=shown) if pk else [],
        "grant_form": GrantForm(initial={"group": shown, "object_type": ObjectType.SYSTEM}),
        "may_manage": allowed(request.user, "user.manage"),
        "may_grant": allowed(request.user, "grant.manage"),
    }
    return render(request, "accounts/group.html", context, status=422 if form.errors else 200)


@require_POST
def delete_group(request: HttpRequest, pk: str) -> HttpResponse:
    shown = get_object_or_404(Group, pk=pk)
    _answer(request, f"{shown} was removed, and with it what was granted to it.", services.delete_group, request.user, shown)
    return redirect("accounts:groups")
