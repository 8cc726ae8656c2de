"""Pages of migration policies."""

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
from hosts import policies
from hosts.migration_policies.forms import MigrationOptionsForm
from hosts.migration_policies.models import MigrationPolicy
from portal.pages import lists
from portal.pages.actions import REFUSALS, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page

TITLE = "Migration policies"
LIST = lists.ListPage(
    title=TITLE,
    row_template="hosts/migration_policy_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("description", "What it does", "", lambda row: row.description),
        lists.Column("post_copy", "Post-copy", "", lambda row: row.post_copy_after_s if row.post_copy else "", "v-num"),
        lists.Column("clusters", "Clusters", "used", lambda row: row.used, "v-num"),
        lists.Column("actions", ""),
    ),
    empty=lists.Empty("arrows-exchange", "No policies", "A policy says how a cluster's VMs move from host to host."),
    live="",
    filters={"name": FilterField("name")},
)


class PolicyForm(MigrationOptionsForm):
    name = forms.CharField(max_length=255)
    description = forms.CharField(max_length=4000, required=False)
    field_order = ("name", "description")


@require_GET
def policy_list(request: HttpRequest) -> HttpResponse:
    if "cluster.view" not in anywhere(request.user):
        require(request.user, "cluster.view")
    rows = MigrationPolicy.objects.annotate(used=Count("clusters"))
    return lists.show(request, LIST, rows, buttons=[], may_edit=allowed(request.user, "cluster.edit"))


def new_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A copy of this one."""
    require(request.user, "cluster.edit")
    source = get_object_or_404(MigrationPolicy, pk=pk)
    form = PolicyForm(request.POST or None, initial=_values(source) | {"name": f"{source.name} copy"})
    return _form(request, MigrationPolicy(), form, f"Copy of {source.name}", "Create policy")


def edit_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    require(request.user, "cluster.edit")
    policy = get_object_or_404(MigrationPolicy, pk=pk)
    return _form(request, policy, PolicyForm(request.POST or None, initial=_values(policy)), f"Edit {policy}", "Save")


def _values(policy: MigrationPolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in PolicyForm.base_fields}


def _form(request: HttpRequest, policy: MigrationPolicy, form: PolicyForm, title: str, verb: str) -> HttpResponse:
    def save(data: dict[str, Any]) -> HttpResponse:
        for name in PolicyForm.base_fields:
            setattr(policy, name, data[name])
        policies.save(request.user, policy, *MigrationOptionsForm.base_fields)  # type: ignore[arg-type]
        return redirect("hosts:migration-policies")

    return form_page(request, form, save, title=title, verb=verb, back=reverse("hosts:migration-policies"), back_title=TITLE)


@require_POST
def remove_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    require(request.user, "cluster.edit")
    policy = get_object_or_404(MigrationPolicy, pk=pk)
    try:
        policies.remove(request.user, policy)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, reverse("hosts:migration-policies"), error)
    messages.success(request, f"{policy} was removed.")
    return redirect("hosts:migration-policies")
