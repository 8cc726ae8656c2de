"""The page that asks where a VM should move, with what speaks against each host."""

from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.permissions import require
from hosts.migration_policies.forms import MigrationOptionsForm
from hosts.migration_policies.policies import options_of
from hosts.models import Host
from hosts.scheduling.choose import decide
from portal.pages.forms import form_page
from vms.migration import services
from vms.models import VM
from vms.pages import find
from vms.placement.snapshot import guest_of, world_of


class MigrateForm(MigrationOptionsForm):
    host = forms.ChoiceField(label="To", widget=forms.RadioSelect, initial="", required=False)
    field_order = ("host",)


def targets(user: Any, vm: VM) -> list[tuple[Host, str]]:
    """The cluster's other hosts that the user sees, best first, each with what speaks against it ("": nothing)."""
    here = str(vm.host_id)
    world = world_of(vm.cluster)
    world = replace(world, hosts=tuple(host for host in world.hosts if host.id != here))
    seen = {str(host.pk): host for host in Host.objects.visible_to(user, "host.view").filter(cluster=vm.cluster_id)}
    return [(seen[verdict.host.id], verdict.reason) for verdict in decide(world, guest_of(vm)).verdicts if verdict.host.id in seen]


def migrate(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = find(request, pk)
    require(request.user, "vm.migrate", vm)
    found = targets(request.user, vm)
    form = MigrateForm(request.POST or None, initial=asdict(options_of(vm.cluster)))
    choices = [("", "the best host, when it begins")]
    choices += [(str(host.pk), f"{host.name}: {reason}" if reason else host.name) for host, reason in found]
    form.fields["host"].choices = choices  # type: ignore[attr-defined]

    def run(data: dict[str, Any]) -> HttpResponse:
        chosen = next((host for host, _reason in found if str(host.pk) == data["host"]), None)
        services.migrate(request.user, vm, chosen, form.options)  # type: ignore[arg-type]
        return redirect(vm)

    where = f"It runs on {vm.host}, and goes on running while it moves; its consoles reconnect." if vm.host else ""
    return form_page(
        request, form, run, title=f"Migrate {vm.name}", verb="Migrate", back=reverse("vms:vm", args=[vm.pk]), back_title=vm.name, text=where
    )
