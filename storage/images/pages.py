"""Pages of the image library: the list, upload, import, download."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from accounts.permissions import anywhere, require
from portal.pages import lists
from portal.pages.actions import REFUSALS, answer, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from storage.images import downloads, fetch, uploads
from storage.images.forms import UploadForm, UrlForm
from storage.images.models import Upload, UploadStatus
from storage.images.sending import send, send_file
from storage.models import Disk, DiskContent

__all__ = ["download", "export", "give_up", "image_list", "import_url", "upload"]

IMAGES = lists.ListPage(
    title="Images",
    row_template="storage/images/row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("status", "Status", "status", lambda row: row.status),
        lists.Column("content", "Content", "content", lambda row: row.get_content_display()),
        lists.Column("format", "Format", "format", lambda row: row.format),
        lists.Column("size", "Size", "capacity_bytes", lambda row: row.capacity_bytes, "v-num"),
        lists.Column("domain", "Storage domain", "domain__name", lambda row: row.domain),
        lists.Column("by", "Brought by", "image__by__username", lambda row: row.image.by if hasattr(row, "image") else ""),
        lists.Column("sha256", "SHA-256", "", lambda row: row.image.sha256 if hasattr(row, "image") else ""),
    ),
    empty=lists.Empty(
        "disc",
        "No images yet",
        "An image is a system to install from, or a disk that was made elsewhere: upload the file, or let Vireo fetch it from a URL.",
    ),
    live="disk",
    filters={
        "name": FilterField("name"),
        "status": FilterField("status", "choice"),
        "content": FilterField("content", "choice"),
        "format": FilterField("format"),
        "domain": FilterField("domain__name"),
        "by": FilterField("image__by__username"),
    },
    hint="content:iso by:admin",
)


@require_GET
def image_list(request: HttpRequest) -> HttpResponse:
    rows = (
        Disk.objects.visible_to(request.user)
        .filter(Q(content=DiskContent.ISO) | Q(image__isnull=False))
        .select_related("domain", "host", "image__by")
    )
    may = "disk.create" in anywhere(request.user)
    buttons = [
        {"url": reverse("storage:upload-image"), "title": "Upload", "icon": "upload", "allowed": may},
        {"url": reverse("storage:import-image"), "title": "Import from URL", "icon": "download", "allowed": may},
    ]
    return lists.show(request, IMAGES, rows, buttons=buttons)


def upload(request: HttpRequest) -> HttpResponse:
    """The page that the browser's script uploads from. Without it, the import from a URL is a link away."""
    _require_create(request)
    context = {
        "form": UploadForm(request.user),
        "title": "Upload an image",
        "back": reverse("storage:images"),
        "unfinished": Upload.objects.filter(user=request.user).exclude(status=UploadStatus.TAKEN),
        "endpoint": reverse("api:begin"),
    }
    return render(request, "storage/images/upload.html", context)


@require_POST
def give_up(request: HttpRequest, pk: UUID) -> HttpResponse:
    found = Upload.objects.select_related("user", "domain").filter(pk=pk, user=request.user).exclude(status=UploadStatus.TAKEN).first()
    if found is None:
        raise Http404("There is no such upload.")
    uploads.give_up(found)
    return answer(request, reverse("storage:upload-image"), f"The upload of {found.file_name} was given up.")


def import_url(request: HttpRequest) -> HttpResponse:
    _require_create(request)

    def run(data: dict[str, Any]) -> HttpResponse:
        domain, url = data.pop("domain"), data.pop("url")
        return redirect(fetch.add(request.user, domain, url, **data)[0])

    form = UrlForm(request.user, request.POST or None)
    return form_page(
        request, form, run, title="Import an image from a URL", verb="Import", back=reverse("storage:images"), back_title="Images"
    )


@require_safe
def download(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = _disk(request, pk)
    try:
        return answer_download(request, disk, request.GET.get("format", ""))
    except REFUSALS as error:
        return refuse(request, disk.get_absolute_url(), error)


def answer_download(request: HttpRequest, disk: Disk, format: str) -> HttpResponse:
    """The disk as it lies in its storage, or its export in the format; in parts where the client asks for them.

    Raises:
        PermissionDenied, Http404, NotPossible.
    """
    require(request.user, "disk.download", disk)
    if format:
        path = downloads.export_path(disk, format) if format in downloads.EXPORT_FORMATS else None
        if path is None or not path.exists():
            raise Http404("There is no such export, or it was kept long enough: export the disk again.")
        return send_file(request, path, disk, format)
    downloads.ensure(disk)
    link, total = downloads.size_of(disk)
    suffix = "iso" if disk.content == DiskContent.ISO else disk.format
    return send(request, disk, total, suffix, lambda part: downloads.from_storage(link, disk, part), tag=str(disk.rev))


@require_POST
def export(request: HttpRequest, pk: UUID) -> HttpResponse:
    disk = _disk(request, pk)
    try:
        job = downloads.export(request.user, disk, request.POST.get("format", ""))
    except REFUSALS as error:
        return refuse(request, disk.get_absolute_url(), error)
    return answer(request, disk.get_absolute_url(), f"{job.title}: asked for. The file is offered here when it is made.", job)


def _disk(request: HttpRequest, pk: UUID) -> Disk:
    found = Disk.objects.visible_to(request.user).select_related("domain", "host__cluster").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such disk.")
    return found


def _require_create(request: HttpRequest) -> None:
    if "disk.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create disks.")
