"""Pages of snapshots: the tree on a VM's page, and the forms of its verbs."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.permissions import is_administrator, require
from accounts.quotas.models import Resource
from accounts.quotas.shares import shares_of
from jobs.models import Job
from portal.pages.actions import REFUSALS, answer, refuse
from portal.pages.forms import form_page
from vms import pages
from vms.models import VM
from vms.snapshots import can, copies, services, tree
from vms.snapshots.forms import CopyForm, NameForm, ReturnForm, TakeForm
from vms.snapshots.models import Snapshot


def context_of(request: HttpRequest, vm: VM, permissions: frozenset[str]) -> dict[str, Any]:
    """What the tree needs: for the VM's tab, and for its page in the portal."""
    facts = can.facts_of(vm)
    may = can.PERMISSION in permissions
    return {
        "tree": tree.build(facts, permissions, lambda name, snapshot: reverse(f"vms:snapshot-{name}", args=[vm.pk, snapshot.pk])),
        "position": facts.position,
        "may_snapshot": may,
        "verdicts": {name: can.check(name, facts) for name in can.VM_ACTIONS},
        "snapshots_left": _left(vm) if may else None,
        "runs": can.runs(vm),
    }


def _left(vm: VM) -> Any:
    """The share of the VM's quota that counts snapshots, if it limits them."""
    if vm.quota is None:
        return None
    return next((share for share in shares_of(vm.quota) if share.limit.resource == Resource.SNAPSHOTS), None)


def back_to(request: HttpRequest, vm: VM) -> str:
    """Where the tree is for this user: a tab of the VM's page, or the portal's page of it."""
    return f"{vm.get_absolute_url()}?tab=snapshots" if is_administrator(request.user) else vm.get_absolute_url()


def _find(request: HttpRequest, pk: UUID, key: UUID) -> tuple[VM, Snapshot]:
    vm = pages.find(request, pk)
    snapshot = vm.snapshots.filter(pk=key).first()
    if snapshot is None:
        raise Http404("There is no such snapshot.")
    return vm, snapshot


def _form(request: HttpRequest, vm: VM, form: Any, run: Any, **context: Any) -> HttpResponse:
    return form_page(request, form, run, back=back_to(request, vm), back_title=vm.name, **context)


def _asked(request: HttpRequest, vm: VM, job: Job) -> HttpResponse:
    messages.info(request, f"{job.title}: asked for.")
    return redirect(back_to(request, vm))


def take(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = pages.find(request, pk)
    require(request.user, can.PERMISSION, vm)
    form = TakeForm(can.runs(vm), request.POST or None, initial={"name": f"{timezone.localtime():%Y-%m-%d %H:%M}"})
    left = _left(vm)
    text = "Its disks are kept as they are now, and it can return to this point." + (
        f" Your quota has room for {left.left_text} more." if left is not None else ""
    )

    def run(data: dict[str, Any]) -> HttpResponse:
        _snapshot, job = services.take(request.user, vm, **data)  # type: ignore[arg-type]
        return _asked(request, vm, job)

    return _form(request, vm, form, run, title=f"Take a snapshot of {vm.name}", verb="Take snapshot", text=text)


def edit(request: HttpRequest, pk: UUID, key: UUID) -> HttpResponse:
    vm, snapshot = _find(request, pk, key)
    require(request.user, can.PERMISSION, vm)
    form = NameForm(request.POST or None, initial={"name": snapshot.name, "note": snapshot.note})

    def run(data: dict[str, Any]) -> HttpResponse:
        services.edit(request.user, vm, snapshot, **data)  # type: ignore[arg-type]
        return redirect(back_to(request, vm))

    return _form(request, vm, form, run, title=f"Edit snapshot {snapshot.name}", verb="Save")


def preview(request: HttpRequest, pk: UUID, key: UUID) -> HttpResponse:
    text = "Its disks are set back for a try. The present state is set aside, and you decide afterwards which one to keep."
    return _return(request, pk, key, services.preview, "Preview", text, "v-button-primary")


def revert(request: HttpRequest, pk: UUID, key: UUID) -> HttpResponse:
    text = "Its disks are set back for good: what was written since its newest snapshot is lost. To look first, preview it."
    return _return(request, pk, key, services.revert, "Revert to", text, "v-button-danger")


def _return(request: HttpRequest, pk: UUID, key: UUID, verb: Any, word: str, text: str, look: str) -> HttpResponse:
    vm, snapshot = _find(request, pk, key)
    require(request.user, can.PERMISSION, vm)
    posted = request.POST if request.method == "POST" else None  # all of its fields may be unchecked
    form = ReturnForm(can.facts_of(vm), snapshot, posted)

    def run(data: dict[str, Any]) -> HttpResponse:
        return _asked(request, vm, verb(request.user, vm, snapshot, **data))

    title = f"{word} {snapshot.name}"
    return _form(request, vm, form, run, title=title, verb=word.split()[0], text=f"{vm.name}: {text}", verb_class=look)


@require_POST
def keep(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = pages.find(request, pk)
    try:
        job = services.commit(request.user, vm)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, back_to(request, vm), error)
    return answer(request, back_to(request, vm), f"{job.title}: asked for.", job)


def leave(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = pages.find(request, pk)
    require(request.user, can.PERMISSION, vm)
    form = ReturnForm(can.facts_of(vm), None, request.POST if request.method == "POST" else None)

    def run(data: dict[str, Any]) -> HttpResponse:
        return _asked(request, vm, services.undo(request.user, vm, **data))  # type: ignore[arg-type]

    text = f"{vm.name} is again as it was before the preview. What was written in the preview is lost."
    return _form(request, vm, form, run, title="Return to the state before", verb="Return", text=text)


@require_POST
def delete(request: HttpRequest, pk: UUID, key: UUID) -> HttpResponse:
    vm, snapshot = _find(request, pk, key)
    try:
        job = services.delete(request.user, vm, snapshot)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, back_to(request, vm), error)
    return answer(request, back_to(request, vm), f"{job.title}: asked for.", job)


def clone(request: HttpRequest, pk: UUID, key: UUID) -> HttpResponse:
    vm, snapshot = _find(request, pk, key)
    require(request.user, "vm.edit", vm)
    form = CopyForm(request.POST or None, initial={"name": f"{vm.name}-{snapshot.name}"[:255]})

    def run(data: dict[str, Any]) -> HttpResponse:
        made, _job = copies.clone(request.user, vm, snapshot, **data)  # type: ignore[arg-type]
        return redirect(made)

    text = f"A VM of its own, with full copies of the disks that {vm.name} had at {snapshot.name}."
    return _form(request, vm, form, run, title=f"Clone {snapshot.name}", verb="Clone", text=text)


def template(request: HttpRequest, pk: UUID, key: UUID) -> HttpResponse:
    vm, snapshot = _find(request, pk, key)
    require(request.user, "vm.edit", vm)
    form = CopyForm(request.POST or None, initial={"name": f"{vm.name} {snapshot.name}"[:255]})

    def run(data: dict[str, Any]) -> HttpResponse:
        return _asked(request, vm, copies.make_template(request.user, vm, snapshot, **data))  # type: ignore[arg-type]

    text = f"A template with full copies of the disks that {vm.name} had at {snapshot.name}; {vm.name} may run meanwhile."
    return _form(request, vm, form, run, title=f"Make a template of {snapshot.name}", verb="Make template", text=text)
