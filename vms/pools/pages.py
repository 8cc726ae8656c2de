"""Pages of pools."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective, require
from accounts.views.grants import described_grants
from hosts.models import Cluster
from portal.pages import lists
from portal.pages.actions import REFUSALS, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from vms.models import VM, Template
from vms.pools import services
from vms.pools.models import LARGEST, Pool

LIST = lists.ListPage(
    title="Pools",
    row_template="vms/pool_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("cluster", "Cluster", "cluster__name", lambda row: row.cluster),
        lists.Column("template", "Template", "template__name", lambda row: row.template),
        lists.Column("size", "Machines", "size", lambda row: row.size, "v-num"),
        lists.Column("taken", "Taken", "", lambda row: row.machines.exclude(taken_by=None).count(), "v-num"),
    ),
    empty=lists.Empty("devices", "No pools yet", "A pool is a number of equal machines: who needs one takes it, and gives it back."),
    live="pool vm",
    filters={"name": FilterField("name"), "cluster": FilterField("cluster__name"), "template": FilterField("template__name")},
)


class PoolForm(forms.Form):
    name = forms.CharField(max_length=200, help_text="Its machines are called so, with a number.")
    description = forms.CharField(max_length=4000, required=False)
    cluster = forms.ModelChoiceField(Cluster.objects.none(), empty_label=None)
    template = forms.ModelChoiceField(Template.objects.none(), empty_label=None)
    size = forms.IntegerField(label="Machines", min_value=1, max_value=LARGEST, initial=3)
    prestarted = forms.IntegerField(label="Run before they are taken", min_value=0, max_value=LARGEST, initial=1)
    most_per_user = forms.IntegerField(label="Most for one user", min_value=1, max_value=LARGEST, initial=1)
    stateless = forms.BooleanField(label="Make a machine anew when it was given back", required=False, initial=True)

    def __init__(self, user: Any, *arguments: Any, pool: Pool | None = None, **options: Any) -> None:
        if pool is not None:
            options["initial"] = {name: getattr(pool, name) for name in self.base_fields}
        super().__init__(*arguments, **options)
        self.fields["cluster"].queryset = Cluster.objects.visible_to(user, "pool.create")  # type: ignore[attr-defined]
        self.fields["template"].queryset = Template.objects.visible_to(user, "template.use")  # type: ignore[attr-defined]
        if pool is not None:
            del self.fields["cluster"]


def find(request: HttpRequest, pk: UUID) -> Pool:
    found = Pool.objects.visible_to(request.user).select_related("cluster__data_center", "template", "keeper").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such pool, or you may not see it.")
    return found


@require_GET
def pool_list(request: HttpRequest) -> HttpResponse:
    rows = (
        Pool.objects.visible_to(request.user)
        .select_related("cluster", "template")
        .prefetch_related("machines")
        .annotate(taken=Count("machines", filter=~Q(machines__taken_by=None)))
    )
    buttons = [{"url": reverse("vms:new-pool"), "title": "New pool", "icon": "plus", "allowed": "pool.create" in anywhere(request.user)}]
    return lists.show(request, LIST, rows, buttons=buttons)


@require_GET
def pool(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = find(request, pk)
    permissions = effective(request.user, shown)
    context = {
        "shown": shown,
        "permissions": permissions,
        "machines": shown.machines.select_related("taken_by").order_by("name") if "pool.edit" in permissions else None,
        "free": services.free_machines(shown).count(),
        "why_not": services.why_not_take(request.user, shown) if "pool.use" in permissions else "",  # type: ignore[arg-type]
        "grants": described_grants(obj=shown) if "grant.view" in permissions else None,
        "obj": shown,
    }
    return render(request, "vms/pool.html", context)


def new_pool(request: HttpRequest) -> HttpResponse:
    if "pool.create" not in anywhere(request.user):
        raise PermissionDenied("You may not make pools: no grant gives you pool.create.")
    form = PoolForm(request.user, request.POST or None)
    return form_page(
        request,
        form,
        lambda data: redirect(services.save(request.user, Pool(**data))),  # type: ignore[arg-type]
        title="New pool",
        verb="Create",
        back=reverse("vms:pools"),
    )


def edit_pool(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = find(request, pk)
    require(request.user, "pool.edit", shown)
    form = PoolForm(request.user, request.POST or None, pool=shown)

    def save(data: dict[str, Any]) -> HttpResponse:
        for name, value in data.items():
            setattr(shown, name, value)
        return redirect(services.save(request.user, shown))  # type: ignore[arg-type]

    return form_page(request, form, save, title=f"Edit {shown}", verb="Save", back=shown.get_absolute_url())


@require_POST
def remove_pool(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = find(request, pk)
    try:
        services.remove(request.user, shown)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, shown.get_absolute_url(), error)
    messages.success(request, f"{shown.name} was removed.")
    return redirect("vms:pools")


@require_POST
def take(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = find(request, pk)
    try:
        vm = services.take(request.user, shown)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, reverse("portal:dashboard"), error)
    return redirect(vm)


@require_POST
def give_back(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = VM.objects.visible_to(request.user).select_related("pool__cluster", "taken_by").filter(pk=pk).first()
    if vm is None:
        raise Http404("There is no such VM, or you may not see it.")
    try:
        services.give_back(request.user, vm)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, vm.get_absolute_url(), error)
    messages.success(request, f"{vm.name} was given back.")
    own = vm.pool is not None and "pool.edit" in effective(request.user, vm.pool)
    return redirect(vm.pool) if own and vm.pool else redirect("portal:dashboard")
