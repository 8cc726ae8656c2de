"""How a cluster's VMs are spread: capacity, balance, reserve, affinity groups, and each decision with its reasons."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import effective, require
from events.models import Event
from hosts.models import Cluster
from hosts.scheduling.reserve import can_lose
from hosts.scheduling.world import RESERVED_MIB, HostView, World
from portal.pages.actions import REFUSALS, refuse
from portal.pages.forms import form_page
from vms.balancing.plans import movable_world, plan_of, why_not_now
from vms.balancing.rounds import carry_out, moves_left
from vms.models import VM
from vms.pages import find as find_vm
from vms.placement import services
from vms.placement.models import AffinityGroup
from vms.placement.snapshot import world_of

MOVES_SHOWN = 10


@dataclass(frozen=True)
class HostRow:
    """Args: full: percent of its memory that is promised."""

    host: HostView
    promised_mib: int
    room_mib: int
    vcpus: int
    guests: int
    full: int


def _cluster(request: HttpRequest, pk: UUID) -> Cluster:
    found = Cluster.objects.visible_to(request.user).select_related("data_center", "policy", "migration_policy").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such cluster, or you may not see it.")
    return found


@require_GET
def scheduling(request: HttpRequest, pk: UUID) -> HttpResponse:
    """For who may see all of the cluster's hosts and VMs."""
    cluster = _cluster(request, pk)
    require(request.user, "host.view", cluster)
    require(request.user, "vm.view", cluster)
    world = world_of(cluster)
    plan = plan_of(movable_world(cluster), MOVES_SHOWN, cluster.minimal_gain)
    rows = [_row(world, host) for host in world.by_name]
    context = {
        "shown": cluster,
        "permissions": effective(request.user, cluster),
        "policy": world.policy,
        "rows": rows,
        "promised_mib": sum(row.promised_mib for row in rows),
        "room_mib": sum(row.room_mib for row in rows if not row.host.out),
        "guests": len(world.guests),
        "plan": plan,
        "why_not_now": why_not_now(cluster),
        "moves_left": moves_left(cluster),
        "rounds": Event.objects.filter(kind="cluster.balanced", object_type=Cluster.OBJECT_TYPE, object_id=cluster.pk)[:5],
        "reserve": can_lose(world),
        "has_ha": any(guest.highly_available for guest in world.guests),
        "groups": cluster.affinity_groups.prefetch_related("vms"),
        "decisions": cluster.decisions.select_related("vm", "host")[:10],
    }
    return render(request, "vms/scheduling.html", context)


@require_POST
def balance_now(request: HttpRequest, pk: UUID) -> HttpResponse:
    cluster = _cluster(request, pk)
    back = reverse("vms:scheduling", args=[cluster.pk])
    try:
        jobs = carry_out(request.user, cluster)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, back, error)
    messages.info(request, f"{len(jobs)} VM{'s are' if len(jobs) > 1 else ' is'} moved.")
    return redirect("vms:migrations")


def _row(world: World, host: HostView) -> HostRow:
    load = world.loads[host.id]
    room = max(0, host.memory_mib - RESERVED_MIB)
    return HostRow(host, load.promised_mib, room, load.vcpus, load.guests, min(100, round(100 * load.promised_mib / room)) if room else 0)


@require_GET
def decisions(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Why the VM runs where it runs. Names of hosts are for who may see hosts."""
    vm = find_vm(request, pk)
    require(request.user, "host.view", vm.cluster)
    return render(request, "vms/decisions.html", {"vm": vm, "decisions": vm.decisions.select_related("host")})


class GroupForm(forms.Form):
    name = forms.CharField(max_length=255)
    description = forms.CharField(max_length=4000, required=False)
    positive = forms.TypedChoiceField(
        label="These VMs run",
        choices=[("apart", "apart: each on another host"), ("together", "together: all on one host")],
        coerce=lambda value: value == "together",
        widget=forms.RadioSelect,
        initial="apart",
    )
    hard = forms.TypedChoiceField(
        label="How strictly",
        choices=[("hard", "always: rather not run at all"), ("soft", "if possible")],
        coerce=lambda value: value == "hard",
        widget=forms.RadioSelect,
        initial="hard",
    )
    vms = forms.ModelMultipleChoiceField(VM.objects.none(), label="VMs", required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, user: Any, cluster: Cluster, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["vms"].queryset = VM.objects.visible_to(user).filter(cluster=cluster).order_by("name")  # type: ignore[attr-defined]


def new_group(request: HttpRequest, pk: UUID) -> HttpResponse:
    cluster = _cluster(request, pk)
    require(request.user, "cluster.edit", cluster)
    return _group_form(
        request, AffinityGroup(cluster=cluster), GroupForm(request.user, cluster, request.POST or None), "New affinity group"
    )


def edit_group(request: HttpRequest, pk: UUID) -> HttpResponse:
    group = _group(request, pk)
    initial = {
        "name": group.name,
        "description": group.description,
        "positive": "together" if group.positive else "apart",
        "hard": "hard" if group.hard else "soft",
        "vms": group.vms.all(),
    }
    return _group_form(request, group, GroupForm(request.user, group.cluster, request.POST or None, initial=initial), f"Edit {group}")


def _group(request: HttpRequest, pk: UUID) -> AffinityGroup:
    group = AffinityGroup.objects.select_related("cluster__data_center").filter(pk=pk).first()
    if group is None or not Cluster.objects.visible_to(request.user).filter(pk=group.cluster_id).exists():
        raise Http404("There is no such affinity group, or you may not see it.")
    require(request.user, "cluster.edit", group.cluster)
    return group


def _group_form(request: HttpRequest, group: AffinityGroup, form: GroupForm, title: str) -> HttpResponse:
    back = reverse("vms:scheduling", args=[group.cluster_id])

    def save(data: dict[str, Any]) -> HttpResponse:
        for name in ("name", "description", "positive", "hard"):
            setattr(group, name, data[name])
        services.save_group(request.user, group, list(data["vms"]))  # type: ignore[arg-type]
        return redirect(back)

    text = "VMs that run are not moved by it; it holds when they start and when they are moved."
    return form_page(request, form, save, title=title, verb="Save", back=back, back_title="Scheduling", text=text)


@require_POST
def remove_group(request: HttpRequest, pk: UUID) -> HttpResponse:
    group = _group(request, pk)
    back = reverse("vms:scheduling", args=[group.cluster_id])
    try:
        services.remove_group(request.user, group)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, back, error)
    messages.success(request, f"{group} was removed.")
    return redirect(back)
