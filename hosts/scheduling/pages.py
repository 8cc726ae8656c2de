"""Pages of scheduling policies."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import allowed, anywhere, require
from hosts.policies import remove
from hosts.scheduling import policies
from hosts.scheduling.models import SchedulingPolicy
from portal.pages import lists
from portal.pages.actions import REFUSALS, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page

LIST = lists.ListPage(
    title="Scheduling policies",
    row_template="hosts/policy_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("description", "What it does", "", lambda row: row.description),
        lists.Column("memory", "Memory overcommit", "memory_overcommit", lambda row: row.memory_overcommit, "v-num"),
        lists.Column("clusters", "Clusters", "used", lambda row: row.used, "v-num"),
        lists.Column("actions", ""),
    ),
    empty=lists.Empty("scale", "No policies", "A policy says how a cluster's VMs are spread over its hosts."),
    live="",
    filters={"name": FilterField("name")},
)


class PolicyForm(forms.Form):
    name = forms.CharField(max_length=255)
    description = forms.CharField(max_length=4000, required=False)
    memory_overcommit = forms.IntegerField(
        label="Memory that VMs may claim, in percent of the host's",
        min_value=100,
        max_value=400,
        initial=100,
        help_text="What a VM is guaranteed always fits; only what it may claim beyond that is overcommitted.",
    )
    cpu_overcommit = forms.IntegerField(label="vCPUs for each CPU", min_value=0, max_value=100, initial=0, help_text="0: any number.")
    spare_hosts = forms.IntegerField(
        label="Hosts that may fail",
        min_value=0,
        max_value=16,
        initial=0,
        help_text="The cluster warns when it could not restart everything.",
    )

    def __init__(self, *arguments: Any, weights: dict[str, int] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for key, label in policies.WORDS.items():
            initial = (weights or {}).get(key, 0)
            self.fields[f"weight_{key}"] = forms.IntegerField(label=label, min_value=0, max_value=10, initial=initial)
        self.fields["weight_even"].help_text = "Of these wishes, a higher number counts more; 0: not at all."

    @property
    def weights(self) -> dict[str, int]:
        return {key: self.cleaned_data[f"weight_{key}"] for key in policies.WORDS}


_PLAIN = ("name", "description", "memory_overcommit", "cpu_overcommit", "spare_hosts")


@require_GET
def policy_list(request: HttpRequest) -> HttpResponse:
    if "cluster.view" not in anywhere(request.user):
        require(request.user, "cluster.view")
    rows = SchedulingPolicy.objects.annotate(used=Count("clusters"))
    return lists.show(request, LIST, rows, buttons=[], may_edit=allowed(request.user, "cluster.edit"))


def new_policy(request: HttpRequest) -> HttpResponse:
    """A copy of the one that `from` names: weights are easier to change than to invent."""
    require(request.user, "cluster.edit")
    try:
        source = SchedulingPolicy.objects.filter(pk=UUID(request.GET.get("from", ""))).first()
    except ValueError:
        source = None
    source = source or SchedulingPolicy.objects.filter(name=policies.DEFAULT).first() or SchedulingPolicy(name="Policy")
    initial: dict[str, Any] = {name: getattr(source, name) for name in _PLAIN} | {"name": f"{source.name} copy"}
    form = PolicyForm(request.POST or None, initial=initial, weights=source.weights)
    return _form(request, SchedulingPolicy(), form, f"Copy of {source.name}", "Create policy")


def edit_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    require(request.user, "cluster.edit")
    policy = get_object_or_404(SchedulingPolicy, pk=pk)
    initial: dict[str, Any] = {name: getattr(policy, name) for name in _PLAIN}
    return _form(request, policy, PolicyForm(request.POST or None, initial=initial, weights=policy.weights), f"Edit {policy}", "Save")


def _form(request: HttpRequest, policy: SchedulingPolicy, form: PolicyForm, title: str, verb: str) -> HttpResponse:
    def save(data: dict[str, Any]) -> HttpResponse:
        for name in _PLAIN:
            setattr(policy, name, data[name])
        policies.save(request.user, policy, form.weights)  # type: ignore[arg-type]
        return redirect("hosts:policies")

    return form_page(request, form, save, title=title, verb=verb, back=reverse("hosts:policies"), back_title="Scheduling policies")


@require_POST
def remove_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    require(request.user, "cluster.edit")
    policy = get_object_or_404(SchedulingPolicy, pk=pk)
    try:
        remove(request.user, policy)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, reverse("hosts:policies"), error)
    messages.success(request, f"{policy} was removed.")
    return redirect("hosts:policies")
