"""Roles: the list, a role with its tree of permissions, and the form of an own one."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts import roles as verbs
from accounts.forms import RoleForm
from accounts.models import Role
from accounts.permissions import PERMISSIONS, allowed, effective, require
from accounts.views.grants import described_grants
from portal.forms import add_errors


def roles(request: HttpRequest) -> HttpResponse:
    require(request.user, "role.view")
    found = Role.objects.annotate(grant_count=Count("grants", distinct=True)).prefetch_related("permissions")
    return render(request, "accounts/roles.html", {"roles": found, "may_manage": allowed(request.user, "role.manage")})


def role(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "role.view")
    shown = get_object_or_404(Role, pk=pk)
    held = _permissions(shown)
    tree = [(kind, [(verb, f"{kind}.{verb}" in held) for verb in verbs_]) for kind, verbs_ in PERMISSIONS.items()]
    context = {
        "shown": shown,
        "tree": tree,
        "grants": described_grants(role=shown),
        "may_manage": allowed(request.user, "role.manage"),
    }
    return render(request, "accounts/role.html", context)


def new_role(request: HttpRequest) -> HttpResponse:
    """The form of a new role; `?copy=<name>` starts with the permissions of another."""
    require(request.user, "role.manage")
    source = Role.objects.filter(name=request.GET.get("copy", "")).first()
    initial = {"name": f"Copy of {source.name}"[:150], "description": source.description} if source else {}
    return _edit(request, Role(**initial), _permissions(source) if source else set())


def edit_role(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "role.manage")
    shown = get_object_or_404(Role, pk=pk, predefined=False)
    return _edit(request, shown, _permissions(shown))


@require_POST
def delete_role(request: HttpRequest, pk: str) -> HttpResponse:
    require(request.user, "role.manage")
    shown = get_object_or_404(Role, pk=pk)
    try:
        verbs.delete_role(request.user, shown)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("accounts:role", pk=pk)
    messages.success(request, f"{shown.name} was removed.")
    return redirect("accounts:roles")


def _permissions(role: Role) -> set[str]:
    return set(role.permissions.values_list("permission", flat=True))


def _edit(request: HttpRequest, shown: Role, have: set[str]) -> HttpResponse:
    form = RoleForm(request.POST or None, instance=shown)
    if request.method == "POST":
        chosen = set(request.POST.getlist("permissions"))
        if form.is_valid():
            try:
                verbs.save_role(request.user, shown, chosen)
            except ValidationError as error:
                add_errors(form, error)
            else:
                messages.success(request, f"{shown} was saved.")
                return redirect("accounts:role", pk=shown.pk)
    else:
        chosen = have
    mine = effective(request.user)
    tree = [
        (kind, [(verb, f"{kind}.{verb}", f"{kind}.{verb}" in chosen, f"{kind}.{verb}" in mine | have) for verb in verbs_])
        for kind, verbs_ in PERMISSIONS.items()
    ]
    context = {"shown": shown, "is_new": shown._state.adding, "form": form, "tree": tree}
    return render(request, "accounts/role_form.html", context, status=422 if form.errors else 200)
