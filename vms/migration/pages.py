"""The page that asks where a VM should move, with what speaks against each host."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.permissions import require
from hosts.models import Host
from hosts.scheduling.choose import decide
from hypervisor.migration import MigrationOptions
from portal.pages.forms import form_page
from vms.migration import services
from vms.models import VM
from vms.pages import find
from vms.placement.snapshot import guest_of, world_of


class MigrateForm(forms.Form):
    host = forms.ChoiceField(label="To", widget=forms.RadioSelect, initial="", required=False)
    bandwidth_mib = forms.IntegerField(
        label="At most, in MiB a second", min_value=0, max_value=services.FASTEST_MIB, initial=0, help_text="0: as fast as the network is."
    )
    auto_converge = forms.BooleanField(
        label="Slow the guest down when it writes faster than the network carries", required=False, initial=True
    )
    post_copy = forms.BooleanField(
        label="Finish at the target when nothing else helps",
        required=False,
        help_text="Post-copy: it always ends, but a network that fails in that phase loses the guest's memory.",
    )


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
    form = MigrateForm(request.POST or None)
    choices = [("", "the best host, when it begins")]
    choices += [(str(host.pk), f"{host.name}: {reason}" if reason else host.name) for host, reason in found]
    form.fields["host"].choices = choices  # type: ignore[attr-defined]

    def run(data: dict[str, Any]) -> HttpResponse:
        chosen = next((host for host, _reason in found if str(host.pk) == data["host"]), None)
        options = MigrationOptions(bandwidth_mib=data["bandwidth_mib"], auto_converge=data["auto_converge"], post_copy=data["post_copy"])
        services.migrate(request.user, vm, chosen, options)  # type: ignore[arg-type]
        return redirect(vm)

    where = f"It runs on {vm.host}, and goes on running while it moves; its consoles reconnect." if vm.host else ""
    return form_page(
        request, form, run, title=f"Migrate {vm.name}", verb="Migrate", back=reverse("vms:vm", args=[vm.pk]), back_title=vm.name, text=where
    )
