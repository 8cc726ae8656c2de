"""A VM's page for its user: state, what it can do, its console, its size, and with whom it is shared."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Grant
from accounts.permissions import effective, is_administrator, require
from accounts.quotas.shares import held_by
from jobs.engine import holder_of
from portal.forms import add_errors
from portal.pages.actions import REFUSALS, words_of
from portal.selfservice.forms import ResizeForm
from portal.selfservice.home import main_verb
from vms import expiry, pages, services, sharing
from vms.guest import first_boot
from vms.models import VM
from vms.snapshots.pages import context_of


@require_GET
def machine(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The slim page; an administrator, and who asks for a tab, gets the full one."""
    if "tab" in request.GET or is_administrator(request.user):
        return pages.vm_detail(request, pk)
    vm = pages.find(request, pk)
    permissions = effective(request.user, vm)
    busy = holder_of(vm)
    found = pages.action_entries(vm, permissions, busy)
    by_name = {entry.name: entry for entry in found}
    vm.console, vm.main = by_name.get("console"), main_verb(by_name)  # type: ignore[attr-defined]
    context: dict[str, Any] = {
        "vm": vm,
        "system": vm.guest_os or (vm.template.name if vm.template else vm.os),
        "permissions": permissions,
        "busy": busy,
        "last_failure": pages.last_failure(vm),
        "next_run": pages.waiting_changes(vm),
        "disks": [attachment.disk for attachment in vm.attachments.filter(device="disk").select_related("disk") if attachment.disk],
        "may_edit": "vm.edit" in permissions,
        "preview": pages.preview_of(vm),
        "ends": expiry.banner(vm, "vm.edit" in permissions),
        "restart": pages.restart_of(vm),
        "may_share": "grant.manage" in permissions,
        "ssh_command": first_boot.ssh_command(vm) if "vm.edit" in permissions else "",
    }
    context |= context_of(request, vm, permissions)
    if "grant.view" in permissions:
        context["shares"] = [_described(grant, vm, request) for grant in sharing.shares(vm)]
    if context["may_share"]:
        context |= {"roles": sharing.ROLES, "groups": sharing.groups_of(request.user)}  # type: ignore[arg-type]
    return render(request, "selfservice/machine.html", context)


def _described(grant: Grant, vm: VM, request: HttpRequest) -> dict[str, Any]:
    """One line of the list of shares."""
    owner = grant.user_id is not None and grant.user_id == vm.owner_id
    return {
        "id": grant.pk,
        "who": grant.group.name if grant.group else grant.user.display_name if grant.user else "",
        "is_group": grant.group_id is not None,
        "what": "owner" if owner else sharing.ROLES.get(grant.role.name, grant.role.name),
        "can_go": not owner and grant.user_id != request.user.pk,
    }


def resize(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Another size, by name or by numbers; what a running machine cannot take waits for its next run."""
    vm = pages.find(request, pk)
    require(request.user, "vm.edit", vm)
    now = {name: vm.next_run.get(name, getattr(vm, name)) for name in ("vcpus", "memory_mib")}
    form = ResizeForm(request.POST if request.method == "POST" else None, initial=now | {"size": ""})
    if request.method == "POST" and form.is_valid():
        try:
            vm, _job = services.edit(request.user, vm, form.changes())  # type: ignore[arg-type]
        except ValidationError as error:
            add_errors(form, error)
        except REFUSALS as error:
            form.add_error(None, words_of(error))
        else:
            messages.success(request, f"{vm.name} gets its new size" + (" when it next starts." if vm.next_run else "."))
            return redirect(vm)
    context = {"form": form, "title": f"Size of {vm.name}", "verb": "Change size", "back": vm.get_absolute_url(), "back_title": vm.name}
    context["text"] = "Its disks stay as they are." if vm.status == "down" else "It runs: the new size takes effect when it next starts."
    context["held_quotas"] = [held for held in held_by(request.user) if held.quota.pk == vm.quota_id]  # type: ignore[arg-type]
    return render(request, "selfservice/resize.html", context, status=422 if form.errors else 200)


@require_POST
def share(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = pages.find(request, pk)
    try:
        grant = sharing.share(request.user, vm, request.POST.get("role", ""), request.POST.get("who", ""))  # type: ignore[arg-type]
    except REFUSALS as error:
        messages.error(request, words_of(error))
    else:
        messages.success(request, f"{grant.user or grant.group} {sharing.ROLES[grant.role.name]}.")
    return redirect(vm)


@require_POST
def unshare(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = pages.find(request, pk)
    try:
        sharing.unshare(request.user, vm, UUID(request.POST.get("grant", "")))  # type: ignore[arg-type]
    except (Grant.DoesNotExist, ValueError):
        require(request.user, "grant.manage", vm)
        raise Http404("There is no such share.") from None
    except REFUSALS as error:
        messages.error(request, words_of(error))
    else:
        messages.success(request, "The share was taken back.")
    return redirect(vm)
