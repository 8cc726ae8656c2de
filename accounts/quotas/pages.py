"""Pages of quotas."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import allowed, require
from accounts.quotas import services
from accounts.quotas.forms import HolderForm, QuotaForm
from accounts.quotas.models import Quota, QuotaHolder, Resource
from accounts.quotas.shares import shares_of
from accounts.views.grants import names_offered
from hosts.models import DataCenter, QuotaMode
from portal.errors import NotPossible
from portal.forms import add_errors
from portal.pages import lists
from portal.pages.actions import REFUSALS
from portal.pages.filtering import FilterField

LIST = lists.ListPage(
    title="Quotas",
    row_template="accounts/quota_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("data_center", "Data center", "data_center__name", lambda row: row.data_center),
        lists.Column("mode", "Mode", "data_center__quota_mode", lambda row: row.data_center.quota_mode),
        lists.Column("holders", "Holders", "", lambda row: ", ".join(str(holder) for holder in row.holders.all())),
        lists.Column("limits", "Limits", "", lambda row: ", ".join(str(limit) for limit in row.limits.all())),
    ),
    empty=lists.Empty("scale", "No quotas yet", "A quota is a share of a data center: so many VMs, so much memory, for a user or a group."),
    live="",
    filters={"name": FilterField("name"), "data_center": FilterField("data_center__name")},
)


def _find(request: HttpRequest, pk: UUID) -> Quota:
    """Raises Http404 for what is not there, and for what this user may neither view nor use."""
    found = Quota.objects.seen_by(request.user).select_related("data_center").filter(pk=pk).first()  # type: ignore[arg-type]
    if found is None:
        raise Http404("There is no such quota, or you may not see it.")
    return found


def _manageable(request: HttpRequest) -> list[DataCenter]:
    return list(DataCenter.objects.visible_to(request.user, "quota.manage").order_by("name"))


@require_GET
def quota_list(request: HttpRequest) -> HttpResponse:
    rows = Quota.objects.seen_by(request.user).select_related("data_center")  # type: ignore[arg-type]
    rows = rows.prefetch_related("holders__user", "holders__group", "limits__cluster", "limits__storage_domain")
    managed = _manageable(request)
    buttons = [{"url": reverse("accounts:new-quota"), "title": "New quota", "icon": "plus", "allowed": bool(managed)}]
    return lists.show(request, LIST, rows, template="accounts/quotas.html", buttons=buttons, data_centers=managed, modes=QuotaMode.choices)


@require_GET
def quota(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = _find(request, pk)
    may_manage = allowed(request.user, "quota.manage", shown)
    return _page(request, shown, HolderForm(), may_manage)


def _page(request: HttpRequest, shown: Quota, form: HolderForm, may_manage: bool, status: int = 200) -> HttpResponse:
    context = {
        "shown": shown,
        "shares": shares_of(shown),
        "holders": shown.holders.select_related("user", "group").order_by("user__username", "group__name"),
        "vms": shown.vms.visible_to(request.user).order_by("name")[:50],
        "disks": shown.disks.visible_to(request.user).filter(attachments=None).select_related("domain").order_by("name")[:50],
        "may_manage": may_manage,
        "holder_form": form,
    } | (names_offered(request.user) if may_manage else {})
    return render(request, "accounts/quota.html", context, status=status)


def new_quota(request: HttpRequest) -> HttpResponse:
    """In the data center that `?data_center=` names, or the first that the user manages."""
    places = _manageable(request)
    if not places:
        raise PermissionDenied("You may not make quotas: no grant gives you quota.manage.")
    wanted = request.GET.get("data_center", "")
    place = next((each for each in places if str(each.pk) == wanted), places[0])
    return _form(request, Quota(data_center=place), places)


def edit_quota(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = _find(request, pk)
    require(request.user, "quota.manage", shown)
    return _form(request, shown, [])


def _form(request: HttpRequest, shown: Quota, places: list[DataCenter]) -> HttpResponse:
    is_new = shown._state.adding
    form = QuotaForm(shown.data_center, request.POST or None, None if is_new else shown)
    if request.method == "POST" and form.is_valid():
        for name, value in form.values().items():
            setattr(shown, name, value)
        try:
            services.save(request.user, shown, form.limits())  # type: ignore[arg-type]
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"{shown} was saved.")
            return redirect(shown)
    context = {"form": form, "shown": shown, "is_new": is_new, "places": places, "resources": Resource}
    return render(request, "accounts/quota_form.html", context, status=422 if form.errors else 200)


@require_POST
def remove_quota(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = _find(request, pk)
    try:
        services.remove(request.user, shown)  # type: ignore[arg-type]
    except NotPossible as error:
        messages.error(request, str(error))
        return redirect(shown)
    messages.success(request, f"{shown.name} was removed.")
    return redirect("accounts:quotas")


@require_POST
def add_holder(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown, form = _find(request, pk), HolderForm(request.POST)
    require(request.user, "quota.manage", shown)
    if form.is_valid():
        try:
            holder = services.add_holder(request.user, shown, **form.cleaned_data)  # type: ignore[arg-type]
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"{holder} may use {shown}.")
            return redirect(shown)
    return _page(request, shown, form, True, 422)


@require_POST
def remove_holder(request: HttpRequest, pk: UUID) -> HttpResponse:
    holder = get_object_or_404(QuotaHolder.objects.select_related("quota__data_center", "user", "group"), pk=pk)
    if not allowed(request.user, "quota.manage", holder.quota):
        raise Http404("There is no such holder.")
    services.remove_holder(request.user, holder)  # type: ignore[arg-type]
    messages.success(request, f"{holder} may no longer use {holder.quota}.")
    return redirect(holder.quota)


@require_POST
def set_mode(request: HttpRequest, pk: UUID) -> HttpResponse:
    place = DataCenter.objects.visible_to(request.user).filter(pk=pk).first()
    if place is None:
        raise Http404("There is no such data center, or you may not see it.")
    try:
        services.set_mode(request.user, place, request.POST.get("mode", ""))  # type: ignore[arg-type]
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except REFUSALS as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Quotas of {place}: {request.POST['mode']}.")
    return redirect(place if request.POST.get("back") == "data_center" else "accounts:quotas")
