"""Pages of data centers and clusters."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective, require
from accounts.views.grants import described_grants
from hosts import inventory
from hosts.forms import ClusterForm, DataCenterForm, EditClusterForm
from hosts.models import Cluster, DataCenter, Host, QuotaMode
from networks.models import Network
from portal.pages import lists
from portal.pages.actions import REFUSALS, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from storage.models import StorageDomain

CLUSTERS = lists.ListPage(
    title="Clusters",
    row_template="hosts/cluster_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("data_center", "Data center", "data_center__name", lambda row: row.data_center),
        lists.Column("cpu_model", "CPU model", "cpu_model", lambda row: row.cpu_model),
        lists.Column("hosts", "Hosts", "host_count", lambda row: row.host_count, "v-num"),
        lists.Column("vms", "VMs", "vm_count", lambda row: row.vm_count, "v-num"),
    ),
    empty=lists.Empty("sitemap", "No clusters yet", "A cluster is a group of hosts alike enough to run each other's VMs."),
    live="cluster host vm",
    filters={"name": FilterField("name"), "dc": FilterField("data_center__name")},
)
DATA_CENTERS = lists.ListPage(
    title="Data centers",
    row_template="hosts/data_center_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("clusters", "Clusters", "cluster_count", lambda row: row.cluster_count, "v-num"),
        lists.Column("hosts", "Hosts", "host_count", lambda row: row.host_count, "v-num"),
    ),
    empty=lists.Empty("building", "No data centers yet", "A data center holds clusters and the storage that they share."),
    live="data_center cluster host",
    filters={"name": FilterField("name")},
)


@require_GET
def clusters(request: HttpRequest) -> HttpResponse:
    rows = Cluster.objects.visible_to(request.user).select_related("data_center")
    rows = rows.annotate(host_count=Count("hosts", distinct=True), vm_count=Count("vms", distinct=True))
    buttons = [
        {"url": reverse("hosts:new-cluster"), "title": "New cluster", "icon": "plus", "allowed": "cluster.create" in anywhere(request.user)}
    ]
    return lists.show(request, CLUSTERS, rows, buttons=buttons)


@require_GET
def data_centers(request: HttpRequest) -> HttpResponse:
    rows = DataCenter.objects.visible_to(request.user).annotate(
        cluster_count=Count("clusters", distinct=True), host_count=Count("clusters__hosts", distinct=True)
    )
    buttons = [
        {
            "url": reverse("hosts:new-data-center"),
            "title": "New data center",
            "icon": "plus",
            "allowed": "data_center.create" in effective(request.user),
        }
    ]
    return lists.show(request, DATA_CENTERS, rows, buttons=buttons)


def _find(request: HttpRequest, model: Any, pk: UUID) -> Any:
    found = model.objects.visible_to(request.user).filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such object.")
    return found


@require_GET
def cluster(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = _find(request, Cluster, pk)
    permissions = effective(request.user, shown)
    context = {
        "shown": shown,
        "permissions": permissions,
        "hosts": Host.objects.visible_to(request.user)
        .filter(cluster=shown)
        .annotate(running=Count("vms", filter=~Q(vms__status="down")))
        .defer("capabilities")
        .order_by("name"),
        "networks": Network.objects.visible_to(request.user).filter(cluster=shown),
        "vm_count": shown.vms.count(),
        "grants": described_grants(obj=shown) if "grant.view" in permissions else None,
        "obj": shown,
    }
    return render(request, "hosts/cluster.html", context)


@require_GET
def data_center(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = _find(request, DataCenter, pk)
    permissions = effective(request.user, shown)
    context = {
        "shown": shown,
        "permissions": permissions,
        "clusters": Cluster.objects.visible_to(request.user).filter(data_center=shown).annotate(host_count=Count("hosts")),
        "storage": StorageDomain.objects.visible_to(request.user).filter(data_center=shown),
        "quotas": _quotas_of(shown) if "quota.view" in permissions else None,
        "modes": QuotaMode.choices,
        "grants": described_grants(obj=shown) if "grant.view" in permissions else None,
        "obj": shown,
    }
    return render(request, "hosts/data_center.html", context)


def _quotas_of(place: DataCenter) -> Any:
    return place.quotas.prefetch_related("limits__cluster", "limits__storage_domain")


def new_cluster(request: HttpRequest) -> HttpResponse:
    if "cluster.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create clusters.")
    form = ClusterForm(request.user, request.POST or None)
    return form_page(
        request,
        form,
        lambda data: redirect(inventory.create_cluster(request.user, **data)),
        title="New cluster",
        verb="Create cluster",
        back=reverse("hosts:clusters"),
    )


def edit_cluster(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = _find(request, Cluster, pk)
    require(request.user, "cluster.edit", shown)
    initial = {name: getattr(shown, name) for name in EditClusterForm.base_fields}
    form = EditClusterForm(request.POST or None, initial=initial)
    return form_page(
        request,
        form,
        lambda data: redirect(inventory.edit_cluster(request.user, shown, data)),  # type: ignore[arg-type]
        title=f"Edit {shown}",
        verb="Save",
        back=shown.get_absolute_url(),
        back_title=shown.name,
    )


def new_data_center(request: HttpRequest) -> HttpResponse:
    if "data_center.create" not in effective(request.user):
        raise PermissionDenied("You may not create data centers.")
    form = DataCenterForm(request.POST or None)
    return form_page(
        request,
        form,
        lambda data: redirect(inventory.create_data_center(request.user, **data)),
        title="New data center",
        verb="Create",
        back=reverse("hosts:data-centers"),
    )


@require_POST
def remove_cluster(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _remove(request, _find(request, Cluster, pk), inventory.remove_cluster, "hosts:clusters")


@require_POST
def remove_data_center(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _remove(request, _find(request, DataCenter, pk), inventory.remove_data_center, "hosts:data-centers")


def _remove(request: HttpRequest, found: Any, verb: Any, back: str) -> HttpResponse:
    url, name = found.get_absolute_url(), found.name
    try:
        verb(request.user, found)
    except REFUSALS as error:
        return refuse(request, url, error)
    messages.success(request, f"{name} was removed.")
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": reverse(back)})
    return redirect(back)
