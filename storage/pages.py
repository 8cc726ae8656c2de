"""Pages of disks; those of storage domains are in domain_pages."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective
from accounts.views.grants import described_grants
from jobs.engine import holder_of
from portal.pages import lists
from portal.pages.actions import REFUSALS, answer, entries, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from storage import can, services
from storage.forms import DiskForm
from storage.images import downloads
from storage.images.models import Image
from storage.models import Disk
from vms.disks import pages as disk_pages
from vms.models import VM

DISKS = lists.ListPage(
    title="Disks and ISOs",
    row_template="storage/disk_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("status", "Status", "status", lambda row: row.status),
        lists.Column("content", "Content", "content", lambda row: row.content),
        lists.Column("domain", "Storage domain", "domain__name", lambda row: row.domain),
        lists.Column("size", "Size", "capacity_bytes", lambda row: row.capacity_bytes, "v-num"),
    ),
    empty=lists.Empty("disc", "No disks yet", "Disks come with VMs; an ISO image is uploaded here, to boot and install from."),
    live="disk",
    filters={
        "name": FilterField("name"),
        "status": FilterField("status", "choice"),
        "content": FilterField("content", "choice"),
        "domain": FilterField("domain__name"),
    },
    hint="content:iso domain:shared",
)


@require_GET
def disk_list(request: HttpRequest) -> HttpResponse:
    rows = Disk.objects.visible_to(request.user).select_related("domain", "host")
    may = "disk.create" in anywhere(request.user)
    buttons = [
        {"url": reverse("storage:upload-image"), "title": "Upload image", "icon": "upload", "allowed": may},
        {"url": reverse("storage:new-disk"), "title": "New disk", "icon": "plus", "allowed": may},
    ]
    return lists.show(request, DISKS, rows, buttons=buttons)


def find(request: HttpRequest, model: Any, pk: UUID) -> Any:
    found = model.objects.visible_to(request.user).filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such object.")
    return found


@require_GET
def disk_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = Disk.objects.visible_to(request.user).select_related("domain", "host", "backing").filter(pk=pk).first()
    if disk is None:
        raise Http404("There is no such disk.")
    permissions = effective(request.user, disk)
    users = services.users_of(disk)
    verdicts = can.disk_verdicts(disk, permissions, busy=holder_of(disk), **users)
    verdicts.pop("edit", None)
    known = {name: action for name, action in can.DISK_ACTIONS.items() if name in verdicts}
    confirm = {"remove": f"{disk.name} and what is on it are deleted for good."}
    context = {
        "disk": disk,
        "entries": [
            *disk_pages.of_disk(disk, permissions),
            *entries(known, verdicts, lambda name: reverse("storage:remove-disk", args=[pk]), confirm=confirm),
        ],
        "attachments": disk.attachments.filter(vm__in=VM.objects.visible_to(request.user)).select_related("vm"),
        "permissions": permissions,
        "grants": described_grants(obj=disk) if "grant.view" in permissions else None,
        "obj": disk,
        "image": Image.objects.select_related("by").filter(disk=disk).first(),
        "download": downloads.offer(disk) if "disk.download" in permissions else None,
    }
    return render(request, "storage/disk.html", context)


@require_POST
def remove_disk(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = find(request, Disk, pk)
    try:
        job = services.remove_disk(request.user, disk)
    except REFUSALS as error:
        return refuse(request, disk.get_absolute_url(), error)
    return answer(request, reverse("storage:disks"), f"{job.title}: asked for.", job)


def new_disk(request: HttpRequest) -> HttpResponse:
    _require_disk_create(request)
    form = DiskForm(request.user, request.POST or None)
    return form_page(
        request,
        form,
        lambda data: redirect(services.create_disk(request.user, services.NewDisk(**data))[0]),
        title="New disk",
        verb="Create disk",
        back=reverse("storage:disks"),
        back_title="Disks and ISOs",
    )


def _require_disk_create(request: HttpRequest) -> None:
    if "disk.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create disks.")
