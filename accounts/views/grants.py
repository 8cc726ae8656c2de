"""Giving and withdrawing grants, and showing them with where they come from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.http import require_POST

from accounts import objects, services
from accounts.forms import GrantForm
from accounts.models import Grant, Group, ObjectType, Role, User
from accounts.permissions import PERMISSIONS, allowed, ancestors, require
from accounts.reasons import kinds_under, reasons

NAMES_OFFERED = 500
GONE = "a removed object"


@dataclass(frozen=True)
class DescribedGrant:
    """A grant with the name of its object, and whether it reaches the shown object from above."""

    grant: Grant
    object_name: str
    inherited: bool = False

    @property
    def object_url(self) -> str:
        """The page of its object; "" for the system and for an object that is gone."""
        return "" if self.object_name == GONE else objects.url_of(self.grant.object_type, self.grant.object_id)

    @property
    def permissions_url(self) -> str:
        """The page that says what its user may do there, and why."""
        if not self.object_url or self.grant.user is None:
            return ""
        page = reverse("accounts:object-grants", args=[self.grant.object_type, self.grant.object_id])
        return f"{page}?{urlencode({'user': self.grant.user.username})}#why"


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
    return _described(found.order_by("role__name", "created_at"), own)


def _described(grants: Iterable[Grant], own: dict[str, Any]) -> list[DescribedGrant]:
    rows = list(grants)
    names = objects.names_of({(row.object_type, row.object_id) for row in rows if row.object_id})
    return [
        DescribedGrant(
            row,
            "the whole system" if row.object_id is None else names.get((row.object_type, row.object_id), GONE),
            bool(own) and (row.object_type, row.object_id) != (own["object_type"], own["object_id"]),
        )
        for row in rows
    ]


def names_offered(user: Any) -> dict[str, Any]:
    """What a form suggests while a name is typed: nothing for who may not view users, for they may share an object all the same."""
    if not allowed(user, "user.view"):
        return {}
    return {
        "user_names": User.objects.filter(is_active=True).values_list("username", flat=True)[:NAMES_OFFERED],
        "group_names": Group.objects.values_list("name", flat=True)[:NAMES_OFFERED],
    }


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
        "asked": request.GET.get("user", "").strip(),
    } | names_offered(request.user)
    if context["asked"]:
        context["answer"] = _answer(context["asked"], obj)
    template = "accounts/_grants.html" if request.headers.get("HX-Request") else "accounts/object_grants.html"
    return render(request, template, context)


@dataclass(frozen=True)
class Permission:
    """One that the user holds on the shown object, and the grants that give it."""

    name: str
    because: list[DescribedGrant]


@dataclass(frozen=True)
class Answer:
    """What a user may do on the shown object, by kind, and what they may not."""

    user: User
    held: list[tuple[str, list[Permission]]]
    lacking: list[str]


def _answer(username: str, obj: Any) -> Answer | None:
    """None when there is no such user."""
    user = User.objects.filter(username__iexact=username).first()
    if user is None:
        return None
    found = reasons(user, obj)
    grants = {grant.pk: grant for because in found.values() for grant in because}
    described = {row.grant.pk: row for row in _described(grants.values(), {"object_type": obj.OBJECT_TYPE, "object_id": obj.pk})}
    held, lacking = [], []
    for kind in kinds_under(obj.OBJECT_TYPE):
        names = [f"{kind}.{verb}" for verb in PERMISSIONS[kind]]
        rows = [Permission(name, [described[grant.pk] for grant in found[name]]) for name in names if name in found]
        if rows:
            held.append((kind, rows))
        lacking += [name for name in names if name not in found]
    return Answer(user, held, lacking)


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
