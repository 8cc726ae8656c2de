"""Pages of logical networks."""

from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective
from accounts.views.grants import described_grants
from hosts.models import Cluster
from jobs.engine import holder_of
from networks import can, services
from networks.models import Forward, Network
from portal.pages import lists
from portal.pages.actions import REFUSALS, answer, entries, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from vms.models import VM

LIST = lists.ListPage(
    title="Networks",
    row_template="networks/row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("cluster", "Cluster", "cluster__name", lambda row: row.cluster),
        lists.Column("forward", "Kind", "forward", lambda row: row.forward),
        lists.Column("cidr", "Addresses", "cidr", lambda row: row.cidr),
        lists.Column("nics", "NICs", "nic_count", lambda row: row.nic_count, "v-num"),
    ),
    empty=lists.Empty("network", "No networks yet", "A network connects the VMs of a cluster, alone or with a way out through their host."),
    live="network",
    filters={"name": FilterField("name"), "cluster": FilterField("cluster__name"), "kind": FilterField("forward", "choice")},
)


class NetworkForm(forms.Form):
    name = forms.CharField(max_length=255)
    cluster = forms.ModelChoiceField(Cluster.objects.none(), empty_label=None)
    forward = forms.ChoiceField(choices=Forward.choices, widget=forms.RadioSelect, initial=Forward.NAT, label="Kind")
    cidr = forms.CharField(
        max_length=32, initial="192.168.160.0/24", label="Addresses", help_text="The gateway takes the first, DHCP gives out the rest."
    )
    description = forms.CharField(max_length=4000, required=False)


@require_GET
def network_list(request: HttpRequest) -> HttpResponse:
    rows = Network.objects.visible_to(request.user).select_related("cluster").annotate(nic_count=Count("nics"))
    may = "network.create" in anywhere(request.user)
    return lists.show(
        request, LIST, rows, buttons=[{"url": reverse("networks:new"), "title": "New network", "icon": "plus", "allowed": may}]
    )


def _find(request: HttpRequest, pk: UUID) -> Network:
    network = Network.objects.visible_to(request.user).select_related("cluster").filter(pk=pk).first()
    if network is None:
        raise Http404("There is no such network.")
    return network


@require_GET
def network_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    network = _find(request, pk)
    permissions = effective(request.user, network)
    verdicts = can.verdicts(network, permissions, busy=holder_of(network), nics=network.nics.count())
    verdicts.pop("edit", None)
    known = {name: action for name, action in can.ACTIONS.items() if name in verdicts}
    context = {
        "network": network,
        "entries": entries(
            known,
            verdicts,
            lambda name: reverse("networks:action", args=[pk, name]),
            confirm={"remove": f"{network.name} is taken from every host."},
        ),
        "nics": network.nics.filter(vm__in=VM.objects.visible_to(request.user)).select_related("vm")[:200],
        "permissions": permissions,
        "grants": described_grants(obj=network) if "grant.view" in permissions else None,
        "obj": network,
    }
    return render(request, "networks/detail.html", context)


def new(request: HttpRequest) -> HttpResponse:
    if "network.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create networks.")
    form = NetworkForm(request.POST or None)
    form.fields["cluster"].queryset = Cluster.objects.visible_to(request.user, "network.create")  # type: ignore[attr-defined]
    return form_page(
        request,
        form,
        lambda data: redirect(services.create(request.user, services.NewNetwork(**data))[0]),
        title="New network",
        verb="Create network",
        back=reverse("networks:list"),
    )


@require_POST
def action(request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
    network = _find(request, pk)
    verbs = {"apply": services.apply, "remove": services.remove}
    if name not in verbs:
        raise Http404("There is no such action.")
    try:
        job = verbs[name](request.user, network)
    except REFUSALS as error:
        return refuse(request, network.get_absolute_url(), error)
    return answer(request, network.get_absolute_url() if name == "apply" else reverse("networks:list"), f"{job.title}: asked for.", job)
