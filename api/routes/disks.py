"""Disks: get, change, resize, move, copy, remove; and the disks of a VM: list, attach, limit, detach."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Router

from accounts.quotas.models import Quota
from api.disk_schemas import AttachIn, AttachmentAndJob, AttachmentOut, CopyIn, DiskAndJob, DiskPatch, LimitsIn, MoveIn, ResizeIn
from api.lookup import named, one_of, visible
from api.schemas import DiskOut, JobOut, Problem
from hosts.models import Host
from portal.errors import FieldError
from storage import services as storage
from storage.models import Disk, StorageDomain
from vms.disks import resize, services, sparsify, transfer
from vms.models import VM, DiskAttachment

router = Router(tags=["Disks"])
REFUSED = {403: Problem, 404: Problem, 409: Problem, 422: Problem}
RELATED = ("domain", "host")


@router.get("/disks/{uuid:pk}", response={200: DiskOut, 404: Problem}, summary="Get a disk")
def get_disk(request: HttpRequest, pk: UUID) -> Any:
    return visible(Disk, request.user, pk, *RELATED)


@router.patch("/disks/{uuid:pk}", response={200: DiskOut} | REFUSED, summary="Change a disk")
def change_disk(request: HttpRequest, pk: UUID, body: DiskPatch) -> Any:
    disk = visible(Disk, request.user, pk, *RELATED)
    changes = body.model_dump(exclude_none=True)
    shareable = changes.pop("shareable", None)
    if shareable is not None:
        services.share(request.user, disk, shareable)  # type: ignore[arg-type]
    if changes:
        storage.edit_disk(request.user, visible(Disk, request.user, pk, *RELATED), changes)  # type: ignore[arg-type]
    return visible(Disk, request.user, pk, *RELATED)


@router.post("/disks/{uuid:pk}/resize", response={202: JobOut} | REFUSED, summary="Make a disk larger")
def resize_disk(request: HttpRequest, pk: UUID, body: ResizeIn) -> Any:
    """The guest of a running VM sees it at once."""
    return 202, resize.resize(request.user, visible(Disk, request.user, pk, *RELATED), body.capacity_bytes)  # type: ignore[arg-type]


@router.post("/disks/{uuid:pk}/move", response={202: JobOut} | REFUSED, summary="Move a disk to another storage domain")
def move_disk(request: HttpRequest, pk: UUID, body: MoveIn) -> Any:
    """A VM that runs with it runs on meanwhile."""
    disk, user = visible(Disk, request.user, pk, *RELATED), request.user
    return 202, transfer.move(user, disk, _domain(request, body.storage_domain), named(Host, user, "host", body.host))  # type: ignore[arg-type]


@router.post("/disks/{uuid:pk}/copy", response={202: DiskAndJob} | REFUSED, summary="Copy a disk")
def copy_disk(request: HttpRequest, pk: UUID, body: CopyIn) -> Any:
    user, source = request.user, visible(Disk, request.user, pk, *RELATED)
    new = transfer.NewCopy(
        name=body.name,
        domain=_domain(request, body.storage_domain),
        host=named(Host, user, "host", body.host),
        format=body.format,
        quota=one_of(Quota.objects.seen_by(user), "quota", body.quota),  # type: ignore[arg-type]
    )
    disk, job = transfer.copy(user, source, new)  # type: ignore[arg-type]
    return 202, {"disk": disk, "job": job}


@router.post("/disks/{uuid:pk}/sparsify", response={202: JobOut} | REFUSED, summary="Give back a disk's unused space")
def sparsify_disk(request: HttpRequest, pk: UUID) -> Any:
    """While no VM runs with it."""
    return 202, sparsify.sparsify(request.user, visible(Disk, request.user, pk, *RELATED))  # type: ignore[arg-type]


@router.delete("/disks/{uuid:pk}", response={202: JobOut} | REFUSED, summary="Remove a disk and what is on it")
def remove_disk(request: HttpRequest, pk: UUID) -> Any:
    return 202, storage.remove_disk(request.user, visible(Disk, request.user, pk, *RELATED))  # type: ignore[arg-type]


@router.get("/vms/{uuid:pk}/attachments", response={200: list[AttachmentOut], 404: Problem}, summary="List the disks of a VM")
def list_vm_disks(request: HttpRequest, pk: UUID) -> Any:
    return visible(VM, request.user, pk).attachments.select_related("disk__domain")


@router.post("/vms/{uuid:pk}/attachments", response={202: AttachmentAndJob} | REFUSED, summary="Attach a disk to a VM, or make one for it")
def attach_disk(request: HttpRequest, pk: UUID, body: AttachIn) -> Any:
    """While the VM runs, its guest has it at once."""
    user, vm = request.user, visible(VM, request.user, pk, "cluster", "host", "quota")
    disk = named(Disk, user, "disk", body.disk)
    if (disk is None) == (body.storage_domain is None):
        raise FieldError("disk", "Name a disk, or a storage domain and a size for a new one.")
    if disk is not None:
        attachment, job = services.attach(user, vm, disk, body.bus, body.read_only)  # type: ignore[arg-type]
        return 202, {"attachment": attachment, "job": job}
    if body.capacity_bytes is None:
        raise FieldError("capacity_bytes", "How large?")
    new = services.NewAttached(
        domain=_domain(request, body.storage_domain or ""),
        quota=one_of(Quota.objects.seen_by(user), "quota", body.quota),  # type: ignore[arg-type]
        **body.model_dump(include={"capacity_bytes", "name", "format", "bus", "shareable"}),
    )
    attachment, job = services.attach_new(user, vm, new)  # type: ignore[arg-type]
    return 202, {"attachment": attachment, "job": job}


@router.patch("/vms/{uuid:pk}/attachments/{uuid:row}/limits", response={202: JobOut} | REFUSED, summary="Limit what a guest may do with a disk")
def limit_disk(request: HttpRequest, pk: UUID, row: UUID, body: LimitsIn) -> Any:
    return 202, services.set_limits(request.user, _row(request, pk, row), body.io_iops, body.io_bytes)  # type: ignore[arg-type]


@router.delete("/vms/{uuid:pk}/attachments/{uuid:row}", response={202: JobOut} | REFUSED, summary="Detach a disk, which stays")
def detach_disk(request: HttpRequest, pk: UUID, row: UUID) -> Any:
    return 202, services.detach(request.user, _row(request, pk, row))  # type: ignore[arg-type]


def _row(request: HttpRequest, pk: UUID, row: UUID) -> DiskAttachment:
    vm = visible(VM, request.user, pk)
    found = vm.attachments.select_related("vm__cluster", "vm__host", "disk__domain").filter(pk=row).first()
    if found is None:
        raise Http404("This VM has no such disk.")
    return found


def _domain(request: HttpRequest, text: str) -> StorageDomain:
    found = named(StorageDomain, request.user, "storage_domain", text, "disk.create")
    if found is None:
        raise FieldError("storage_domain", "In which storage domain?")
    return found
