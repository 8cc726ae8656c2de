"""Giving and withdrawing grants, and showing them with where they come from."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from accounts import objects, services
from accounts.forms import GrantForm
from accounts.models import Grant, Group, ObjectType, Role, User
from accounts.permissions import allowed, ancestors, require


@dataclass(frozen=True)
class DescribedGrant:
    """A grant with the name of its object, and whether it reaches the shown object from above."""

    grant: Grant
    object_name: str
    inherited: bool = False


def described_grants(
    *, user: User | None = None, group: Group | None = None, role: Role | None = None, obj: Any = None
) -> list[DescribedGrant]:
    """The grants of a user (with those of their groups), of a group, of a role, or on an object and above it."""
    found = Grant.objects.select_related("role", "user", "group")
    own: dict[str, Any] = {}
    if user is not None:
        found = found.filter(Q(user=user) | Q(group__members=user))
    if group is not None:
        found = found.filter(group=group)
    if role is not None:
        found = found.filter(role=role)
    if obj is not None:
        condition = Q(object_type=ObjectType.SYSTEM)
        for object_type, object_id in ancestors(obj).items():
            condition |= Q(object_type=object_type, object_id=object_id)
        found = found.filter(condition)
        own = {"object_type": obj.OBJECT_TYPE, "object_id": obj.pk}
    rows = list(found.order_by("role__name", "created_at"))
    names = objects.names_of({(row.object_type, row.object_id) for row in rows if row.object_id})
    return [
        DescribedGrant(
            row,
            "the whole system" if row.object_id is None else names.get((row.object_type, row.object_id), "a removed object"),
            bool(own) and (row.object_type, row.object_id) != (own["object_type"], own["object_id"]),
        )
        for row in rows
    ]


def _back(request: HttpRequest) -> HttpResponse:
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        return redirect(target)
    return redirect("accounts:users")


def on_object(request: HttpRequest, object_type: str, pk: str) -> HttpResponse:
    """Who may do what on one object: its Permissions tab, also a page by itself."""
    try:
        obj = objects.find(object_type, pk)
    except (KeyError, ObjectDoesNotExist):
        raise Http404("There is no such object.") from None
    if not allowed(request.user, f"{object_type}.view", obj):
        raise Http404("There is no such object.")
    require(request.user, "grant.view", obj)
    context = {
        "obj": obj,
        "grants": described_grants(obj=obj),
        "grant_form": GrantForm(initial={"object_type": object_type, "object_id": pk}),
        "may_grant": allowed(request.user, "grant.manage", obj),
    }
    template = "accounts/_grants.html" if request.headers.get("HX-Request") else "accounts/object_grants.html"
    return render(request, template, context)


def _visible(request: HttpRequest, object_type: str, object_id: Any) -> Any:
    """The object of a grant, which a refusal names: so only one that the user may see. Raises KeyError or DoesNotExist."""
    if object_type == ObjectType.SYSTEM:
        return None
    return objects.model_of(object_type)._default_manager.visible_to(request.user).get(pk=object_id)  # type: ignore[attr-defined]


@require_POST
def give(request: HttpRequest) -> HttpResponse:
    form = GrantForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(message for errors in form.errors.values() for message in errors))
        return _back(request)
    data = form.cleaned_data
    try:
        obj = _visible(request, data["object_type"], data["object_id"])
        services.give(
            request.user, data["role"], data["object_type"], obj, user=data["user"], group=data["group"], expires_at=data["expires_at"]
        )
    except (KeyError, ObjectDoesNotExist):
        messages.error(request, "The object of this grant does not exist.")
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"{data['user'] or data['group']} now holds {data['role']} on {obj or 'the whole system'}.")
    return _back(request)


@require_POST
def withdraw(request: HttpRequest, pk: str) -> HttpResponse:
    grant = get_object_or_404(Grant.objects.select_related("role", "user", "group"), pk=pk)
    try:
        _visible(request, grant.object_type, grant.object_id)
    except (KeyError, ObjectDoesNotExist):
        require(request.user, "grant.manage")  # the object is gone, or not theirs to see
    try:
        services.withdraw(request.user, grant)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"{grant.role} was withdrawn from {grant.user or grant.group}.")
    return _back(request)
