"""Pages of the guest's side of a VM."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from accounts.permissions import require
from jobs.models import Job
from portal.forms import add_errors
from portal.pages.actions import REFUSALS, Entry, answer, entries, refuse, words_of
from portal.pages.forms import form_page
from vms.guest import can, first_boot, services
from vms.guest.forms import FirstBootForm, FreezeForm, PasswordForm
from vms.guest.services import report_of
from vms.models import VM
from vms.spec import nics_of


def find(request: HttpRequest, pk: UUID) -> VM:
    from vms import pages  # they show the guest, too

    return pages.find(request, pk)


def _tab_of(vm: VM) -> str:
    return f"{vm.get_absolute_url()}?tab=guest"


def section(vm: VM, permissions: frozenset[str], busy: Job | None) -> dict[str, Any]:
    """What the VM's page shows of its guest."""
    report = report_of(vm)
    facts = report.facts if report is not None else {}
    names = {nic.mac.lower(): nic.name for nic in nics_of(vm)}
    users = [user | {"since": parse_datetime(user["since"]) if user["since"] else None} for user in facts.get("users", ())]
    settings = first_boot.settings_of(vm)
    return {
        "report": report,
        "facts": facts,
        "guest_nics": [nic | {"ours": names.get(nic["mac"], "")} for nic in facts.get("nics", ())],
        "guest_users": users,
        "guest_entries": action_entries(vm, permissions, busy),
        "silent": can.check("time", vm, None),
        "first_boot": settings,
        "ssh_command": first_boot.ssh_command(vm),
        "first_boot_row": getattr(vm, "first_boot", None),
    }


def action_entries(vm: VM, permissions: frozenset[str], busy: Job | None) -> list[Entry]:
    """What the agent can be asked for."""
    opens = {name: reverse(f"vms:guest-{name}", args=[vm.pk]) for name in ("password", "freeze")}
    confirm = {
        "seal": f"cloud-init clean runs in {vm.name}: its logs, SSH host keys and machine id go, and it shuts down. "
        "Make a template of it then; when it starts again it sets itself up anew."
    }
    verdicts = can.verdicts(vm, report_of(vm), permissions, busy=busy)
    return entries(can.ACTIONS, verdicts, lambda name: reverse("vms:guest-action", args=[vm.pk, name]), opens=opens, confirm=confirm)


@require_POST
def action(request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
    """An action that asks for nothing more."""
    vm = find(request, pk)
    if name not in can.ACTIONS or name in ("password", "freeze"):
        raise Http404("There is no such action.")
    try:
        job = services.act(request.user, vm, name)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, _tab_of(vm), error)
    return answer(request, _tab_of(vm), f"{job.title}: asked for.", job)


def password(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A new password for an account of the guest."""
    vm = find(request, pk)
    require(request.user, can.ACTIONS["password"].permission, vm)
    login = first_boot.settings_of(vm).user or "root"
    form = PasswordForm(request.POST or None, initial={"account": login})
    text = "The guest agent sets it. It is kept nowhere here."
    return _ask(request, vm, form, "password", title=f"Set a password in {vm.name}", verb="Set password", text=text)


def freeze(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Freeze the guest's filesystems for a while."""
    vm = find(request, pk)
    require(request.user, can.ACTIONS["freeze"].permission, vm)
    text = "The guest writes out what it holds, and then nothing more: its disks can be copied as they are. It thaws by itself."
    form = FreezeForm(request.POST or None)
    return _ask(request, vm, form, "freeze", title=f"Freeze the filesystems of {vm.name}", verb="Freeze", text=text)


def _ask(request: HttpRequest, vm: VM, form: Any, name: str, **context: Any) -> HttpResponse:
    def run(data: dict[str, Any]) -> HttpResponse:
        job = services.act(request.user, vm, name, **data)  # type: ignore[arg-type]
        messages.info(request, f"{job.title}: asked for.")
        return redirect(_tab_of(vm))

    return form_page(request, form, run, back=_tab_of(vm), back_title=vm.name, **context)


def edit_first_boot(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The settings of a VM that is there."""
    vm = find(request, pk)
    require(request.user, "vm.edit", vm)
    nics = list(vm.nics.order_by("name").values_list("name", flat=True))
    held = first_boot.settings_of(vm)
    form = FirstBootForm(request.user, request.POST or None, nics=nics, held=held)  # type: ignore[arg-type]
    if request.method == "POST" and form.is_valid():
        try:
            job = first_boot.change(request.user, vm, form.settings())  # type: ignore[arg-type]
        except ValidationError as error:
            rest = form.take_errors(error)
            if rest is not None:
                add_errors(form, rest)
        except REFUSALS as error:
            form.add_error(None, words_of(error))
        else:
            messages.success(request, "The settings are kept." + ("" if job else " The guest reads them when it next starts."))
            return redirect(_tab_of(vm))
    context = {"form": form, "vm": vm}
    return render(request, "vms/guest/first_boot.html", context, status=422 if form.errors else 200)
