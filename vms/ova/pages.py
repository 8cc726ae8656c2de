"""The preview of an OVA that was uploaded, and the export of a VM."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.permissions import require
from portal.errors import NotPossible
from portal.pages.actions import REFUSALS, answer, refuse
from portal.pages.forms import form_page
from storage.images.models import Upload, UploadStatus
from storage.images.sending import send_file
from vms.models import VM
from vms.ova import services
from vms.ova.forms import OvaForm


@require_http_methods(["GET", "POST"])
def preview(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What the OVA holds, and where it shall go. Its sender's alone."""
    upload = Upload.objects.select_related("domain").filter(pk=pk, user=request.user, status=UploadStatus.COMPLETE).first()
    if upload is None:
        raise Http404("There is no such OVA, or it was taken already.")
    back = reverse("storage:upload-image")
    try:
        found = services.read(upload)
    except NotPossible as error:
        context = {"icon": "alert-circle", "title": "This OVA cannot be taken", "text": error.reason}
        return render(request, "pages/error.html", context, status=409)

    def run(data: dict[str, Any]) -> HttpResponse:
        return redirect(services.create(request.user, upload, services.FromOva(**data))[0])

    initial = {"name": found.machine.name, "domain": upload.domain, "virtio": found.machine.os != "windows"}
    form = OvaForm(request.user, request.POST or None, initial=initial)
    return form_page(
        request,
        form,
        run,
        title=f"Import {upload.file_name}",
        verb="Import",
        back=back,
        back_title="Upload an image",
        template="vms/ova_preview.html",
        ova=found,
    )


@require_http_methods(["GET", "HEAD", "POST"])
def export(request: HttpRequest, pk: UUID) -> HttpResponse:
    """POST makes the OVA by a job, GET fetches it."""
    vm = VM.objects.visible_to(request.user).filter(pk=pk).first()
    if vm is None:
        raise Http404("There is no such VM.")
    back = f"{vm.get_absolute_url()}?tab=disks"
    if request.method == "POST":
        try:
            job = services.export(request.user, vm)
        except REFUSALS as error:
            return refuse(request, back, error)
        return answer(request, back, f"{job.title}: asked for. The file is offered here when it is made.", job)
    require(request.user, "vm.edit", vm)
    for disk in services.disks_of(vm):
        require(request.user, "disk.download", disk)
    path = services.export_path(vm)
    if not path.exists():
        raise Http404("There is no such export, or it was kept long enough: export the VM again.")
    return send_file(request, path, vm, "ova")
