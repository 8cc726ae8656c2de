"""Pages of a VM's disks, and of what is done to a disk wherever it is attached."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.permissions import require
from jobs.engine import holder_of
from jobs.models import Job
from portal.pages.actions import REFUSALS, Entry, answer, entries, refuse
from portal.pages.forms import form_page
from portal.templatetags.vireo import size
from storage.disks import can as disk_can
from storage.models import Disk, DiskContent
from storage.services import users_of
from vms.disks import can, forms, resize, services, sparsify, transfer
from vms.models import VM, DiskAttachment

_OF_ROW = ("limits", "resize", "detach")


def of_vm(vm: VM, permissions: frozenset[str], busy: Job | None) -> dict[str, Any]:
    """What the tab of a VM's disks shows: its slots with what can be done to each, and the buttons above them."""
    rows = list(vm.attachments.select_related("disk__domain", "disk__backing", "disk__host"))
    for row in rows:
        row.entries = row_entries(vm, row, permissions, busy)  # type: ignore[attr-defined]
    return {"attachments": rows, "disk_buttons": _buttons(vm, permissions, busy)}


def _buttons(vm: VM, permissions: frozenset[str], busy: Job | None) -> list[Entry]:
    known = {
        "attach": can.Action("attach", "Attach disk", "plug", "vm.edit"),
        "new": can.Action("new", "New disk", "plus", "vm.edit"),
    }
    verdict = can.check("attach", vm, busy=busy) if "vm.edit" in permissions else None
    opens = {"attach": reverse("vms:attach-disk", args=[vm.pk]), "new": reverse("vms:new-disk", args=[vm.pk])}
    return entries(known, dict.fromkeys(known, verdict), lambda name: "", opens=opens, quick=("attach", "new"))


def row_entries(vm: VM, row: DiskAttachment, permissions: frozenset[str], busy: Job | None) -> list[Entry]:
    """What can be done to one of a VM's disks. A CD drive is changed elsewhere."""
    disk = row.disk
    if disk is None or row.device != "disk":
        return []
    known = {name: can.ACTIONS[name] for name in _OF_ROW}
    verdicts = can.verdicts(vm, permissions, busy=busy)
    if "disk.edit" not in permissions or disk.domain_id is None:
        verdicts["resize"] = None
    opens = {
        "limits": reverse("vms:disk-limits", args=[vm.pk, row.pk]),
        "resize": reverse("storage:resize-disk", args=[disk.pk]),
    }
    confirm = {"detach": f"{vm.name} loses {disk.name}. The disk and what is on it stay, and can be attached again."}
    return entries(known, verdicts, lambda name: reverse("vms:detach-disk", args=[vm.pk, row.pk]), opens=opens, confirm=confirm)


def of_disk(disk: Disk, permissions: frozenset[str]) -> list[Entry]:
    """What can be done to a disk from its own page, beside removing it."""
    verdicts = disk_can.verdicts(disk, permissions, busy=holder_of(disk), **users_of(disk))
    if "disk.attach" not in permissions:
        verdicts["copy"] = None
    for name in () if _can_share(disk) else ("share", "unshare"):
        verdicts[name] = None
    verdicts["share" if disk.shareable else "unshare"] = None
    urls = {name: reverse(f"storage:{name}-disk", args=[disk.pk]) for name in disk_can.ACTIONS}
    opens = {name: url for name, url in urls.items() if name not in ("share", "unshare", "sparsify")}
    return entries(disk_can.ACTIONS, verdicts, lambda name: urls[name], opens=opens, quick=("resize", "move"))


def _can_share(disk: Disk) -> bool:
    return disk.format == "raw" and disk.content == DiskContent.DATA


def _vm(request: HttpRequest, pk: UUID) -> VM:
    from vms.pages import find

    return find(request, pk)


def _tab(vm: VM) -> str:
    return f"{vm.get_absolute_url()}?tab=disks"


def _row(vm: VM, pk: UUID) -> DiskAttachment:
    found = vm.attachments.select_related("vm__cluster", "vm__host", "disk").filter(pk=pk).first()
    if found is None:
        raise Http404("This VM has no such disk.")
    return found


def attach(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = _vm(request, pk)
    require(request.user, "vm.edit", vm)
    form = forms.AttachForm(request.user, vm, request.POST or None)  # type: ignore[arg-type]

    def run(data: dict[str, Any]) -> HttpResponse:
        _row, job = services.attach(request.user, vm, **data)  # type: ignore[arg-type]
        return _asked(request, job, _tab(vm))

    text = "A guest that runs has it at once." if vm.status != "down" else ""
    if not form.fields["disk"].queryset.exists():  # type: ignore[attr-defined]
        text = "There is no free disk that you may attach here: make a new one."
    return form_page(
        request, form, run, title=f"Attach a disk to {vm.name}", verb="Attach disk", text=text, back=_tab(vm), back_title=vm.name
    )


def new(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = _vm(request, pk)
    require(request.user, "vm.edit", vm)
    form = forms.NewAttachedForm(request.user, vm, request.POST or None)  # type: ignore[arg-type]

    def run(data: dict[str, Any]) -> HttpResponse:
        _row, job = services.attach_new(request.user, vm, services.NewAttached(**data))  # type: ignore[arg-type]
        return _asked(request, job, _tab(vm))

    return form_page(request, form, run, title=f"New disk for {vm.name}", verb="Make disk", back=_tab(vm), back_title=vm.name)


@require_POST
def detach(request: HttpRequest, pk: UUID, row: UUID) -> HttpResponse:
    vm = _vm(request, pk)
    try:
        job = services.detach(request.user, _row(vm, row))  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, _tab(vm), error)
    return answer(request, _tab(vm), f"{job.title}: asked for.", job)


def limits(request: HttpRequest, pk: UUID, row: UUID) -> HttpResponse:
    vm = _vm(request, pk)
    require(request.user, "vm.edit", vm)
    found = _row(vm, row)
    form = forms.LimitsForm(request.POST or None, initial={"io_iops": found.io_iops, "io_bytes": found.io_bytes})

    def run(data: dict[str, Any]) -> HttpResponse:
        job = services.set_limits(request.user, found, data["io_iops"], data["io_bytes"] or 0)  # type: ignore[arg-type]
        return _asked(request, job, _tab(vm))

    name = found.disk.name if found.disk else found.target
    text = "A guest that runs feels them at once." if vm.status != "down" else ""
    return form_page(request, form, run, title=f"Limits of {name}", verb="Set limits", text=text, back=_tab(vm), back_title=vm.name)


def _asked(request: HttpRequest, job: Job, url: str) -> HttpResponse:
    messages.info(request, f"{job.title}: asked for.")
    return redirect(url)


def _disk(request: HttpRequest, pk: UUID, permission: str) -> Disk:
    found = Disk.objects.visible_to(request.user).select_related("domain", "host").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such disk.")
    require(request.user, permission, found)
    return found


def resize_disk(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = _disk(request, pk, "disk.edit")
    form = forms.ResizeForm(request.POST or None, initial={"capacity_bytes": disk.capacity_bytes})

    def run(data: dict[str, Any]) -> HttpResponse:
        return _asked(request, resize.resize(request.user, disk, data["capacity_bytes"]), disk.get_absolute_url())  # type: ignore[arg-type]

    text = f"It has {size(disk.capacity_bytes)} now."
    back = disk.get_absolute_url()
    return form_page(request, form, run, title=f"Resize {disk.name}", verb="Resize", text=text, back=back, back_title=disk.name)


def move_disk(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = _disk(request, pk, "disk.edit")
    form = forms.MoveForm(request.user, disk, request.POST or None)  # type: ignore[arg-type]

    def run(data: dict[str, Any]) -> HttpResponse:
        return _asked(request, transfer.move(request.user, disk, data["domain"]), disk.get_absolute_url())  # type: ignore[arg-type]

    text = f"From {disk.domain}. A VM that runs with it runs on meanwhile."
    back = disk.get_absolute_url()
    return form_page(request, form, run, title=f"Move {disk.name}", verb="Move", text=text, back=back, back_title=disk.name)


def copy_disk(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = _disk(request, pk, "disk.attach")
    first = {"name": f"{disk.name} copy", "domain": disk.domain_id, "format": disk.format}
    form = forms.CopyForm(request.user, disk, request.POST or None, initial=first)  # type: ignore[arg-type]

    def run(data: dict[str, Any]) -> HttpResponse:
        made, job = transfer.copy(request.user, disk, transfer.NewCopy(**data))  # type: ignore[arg-type]
        return _asked(request, job, made.get_absolute_url())

    text = "Of a disk that a running VM uses, the copy is as of its end, as after a power cut."
    back = disk.get_absolute_url()
    return form_page(request, form, run, title=f"Copy {disk.name}", verb="Copy", text=text, back=back, back_title=disk.name)


@require_POST
def sparsify_disk(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = _disk(request, pk, "disk.edit")
    try:
        job = sparsify.sparsify(request.user, disk)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, disk.get_absolute_url(), error)
    return _asked(request, job, disk.get_absolute_url())


@require_POST
def share_disk(request: HttpRequest, pk: UUID, shareable: bool) -> HttpResponse:
    disk = _disk(request, pk, "disk.edit")
    try:
        services.share(request.user, disk, shareable)  # type: ignore[arg-type]
    except (*REFUSALS, ValidationError) as error:
        return refuse(request, disk.get_absolute_url(), error)
    return answer(request, disk.get_absolute_url(), f"{disk.name} was changed.", status=200)
