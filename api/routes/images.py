"""Images: the list, import from a URL, export and download. Uploads are in api.routes.uploads."""

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from ninja import Query, Router, Schema

from accounts.quotas.models import Quota
from api.lookup import Paging, filtered, named, one_of, page_of, visible
from api.schemas import DiskOut, Input, JobOut, Page, Problem
from storage.images import downloads, fetch, pages
from storage.models import Disk, DiskContent, StorageDomain

router = Router(tags=["Images"])


class ImportIn(Input):
    """Args: sha256: compared with the file when given. format: qcow2 or raw, for disks; ISO images stay as they are."""

    url: str
    domain: str
    name: str = ""
    format: str = "qcow2"
    sha256: str = ""
    quota: str | None = None


class ExportIn(Input):
    format: str


class ImageAndJob(Schema):
    disk: DiskOut
    job: JobOut


class ImageOut(DiskOut):
    file_name: str = ""
    file_format: str = ""
    sha256: str = ""

    @staticmethod
    def resolve_file_name(disk: Disk) -> str:
        return disk.image.file_name if hasattr(disk, "image") else ""

    @staticmethod
    def resolve_file_format(disk: Disk) -> str:
        return disk.image.file_format if hasattr(disk, "image") else ""

    @staticmethod
    def resolve_sha256(disk: Disk) -> str:
        return disk.image.sha256 if hasattr(disk, "image") else ""


@router.get("/images", response=Page[ImageOut], summary="List images")
def list_images(request: HttpRequest, paging: Query[Paging], name: str | None = None, content: str | None = None) -> Any:
    rows = Disk.objects.visible_to(request.user).filter(Q(content=DiskContent.ISO) | Q(image__isnull=False))
    return page_of(filtered(rows.select_related("domain", "image"), {"name": name, "content": content}), paging)


@router.post("/images", response={202: ImageAndJob, 403: Problem, 409: Problem, 422: Problem}, summary="Import an image from a URL")
def import_image(request: HttpRequest, body: ImportIn) -> Any:
    domain = named(StorageDomain, request.user, "domain", body.domain, "disk.create")
    quota = one_of(Quota.objects.usable_by(request.user), "quota", body.quota)
    disk, job = fetch.add(request.user, domain, body.url, name=body.name, to_format=body.format, sha256=body.sha256, quota=quota)
    return 202, {"disk": disk, "job": job}


@router.get("/disks/{uuid:pk}/download", response={200: None, 206: None, 409: Problem}, summary="Download a disk")
def download(request: HttpRequest, pk: UUID, format: str = "") -> Any:
    """As it lies in its storage, or with `format` what an export made of it; with `Range`, a part."""
    return pages.answer_download(request, visible(Disk, request.user, pk, "domain", "host__cluster"), format)


@router.post(
    "/disks/{uuid:pk}/export", response={202: JobOut, 403: Problem, 409: Problem, 422: Problem}, summary="Export a disk in another format"
)
def export(request: HttpRequest, pk: UUID, body: ExportIn) -> Any:
    return 202, downloads.export(request.user, visible(Disk, request.user, pk, "domain", "host__cluster"), body.format)
