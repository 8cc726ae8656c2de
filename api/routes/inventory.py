"""Hosts, templates, and what is read only: clusters, data centers, storage domains, disks, networks."""

from functools import partial
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router

from api.lookup import Paging, filtered, is_id, named, page_of, visible
from api.schemas import (
    ClusterOut,
    DataCenterOut,
    DiskOut,
    HostActionIn,
    HostAndJob,
    HostIn,
    HostOut,
    JobOut,
    NetworkOut,
    Page,
    Problem,
    StorageDomainOut,
    TemplateIn,
    TemplateOut,
    TemplatePatch,
)
from hosts import services as host_services
from hosts.models import Cluster, DataCenter, Host
from hosts.power import services as power
from networks.models import Network
from portal.errors import FieldError
from storage.models import Disk, StorageDomain
from vms import services as vm_services
from vms import template_services
from vms.models import VM, Template

router = Router()


@router.get("/hosts", response=Page[HostOut], tags=["Hosts"], summary="List hosts")
def list_hosts(
    request: HttpRequest, paging: Query[Paging], name: str | None = None, status: str | None = None, cluster: str | None = None
) -> Any:
    rows = Host.objects.visible_to(request.user).select_related("cluster").defer("capabilities")
    return page_of(filtered(rows, {"name": name, "status": status, "cluster__name": cluster}), paging)


@router.post("/hosts", response={202: HostAndJob, 403: Problem, 409: Problem, 422: Problem}, tags=["Hosts"], summary="Add a host")
def add_host(request: HttpRequest, body: HostIn) -> Any:
    """A TLS host answers with the command to paste on it; an SSH host is connected by a job at once."""
    cluster = named(Cluster, request.user, "cluster", body.cluster)
    portal_url = request.build_absolute_uri("/")
    host, job, command = host_services.add_by_api(
        request.user, cluster=cluster, portal_url=portal_url, **body.model_dump(exclude={"cluster"})
    )
    return 202, {"host": host, "job": job, "enrolment_command": command}


@router.get("/hosts/{uuid:pk}", response={200: HostOut, 404: Problem}, tags=["Hosts"], summary="Get a host")
def get_host(request: HttpRequest, pk: UUID) -> Any:
    return visible(Host, request.user, pk, "cluster")


@router.post(
    "/hosts/{uuid:pk}/{action}", response={202: JobOut, 403: Problem, 409: Problem, 422: Problem}, tags=["Hosts"], summary="Act on a host"
)
def act_on_host(request: HttpRequest, pk: UUID, action: str, body: HostActionIn | None = None) -> Any:
    """maintenance, activate, remove; power_status, power_on, power_off, power_restart, confirm_off."""
    host = visible(Host, request.user, pk, "cluster")
    shut_down = body is not None and body.shut_down
    verbs = {
        "maintenance": partial(host_services.maintenance, shut_down=shut_down),
        "activate": host_services.activate,
        "remove": host_services.remove,
        "confirm_off": partial(power.confirm_off, name=body.name if body is not None else ""),
        **{name: partial(power.switch, action=name) for name in power.SWITCHES},
    }
    if action not in verbs:
        raise FieldError("action", f"There is no action «{action[:40]}».")
    return 202, verbs[action](request.user, host)


@router.get("/templates", response=Page[TemplateOut], tags=["Templates"], summary="List templates")
def list_templates(request: HttpRequest, paging: Query[Paging], name: str | None = None) -> Any:
    return page_of(filtered(Template.objects.visible_to(request.user).select_related("data_center"), {"name": name}), paging)


@router.post("/templates", response={202: JobOut, 409: Problem, 422: Problem}, tags=["Templates"], summary="Make a template of a VM")
def create_template(request: HttpRequest, body: TemplateIn) -> Any:
    vm = named(VM, request.user, "vm", body.vm)
    before = None
    if body.version_of:
        rows = Template.objects.visible_to(request.user, "template.edit")
        rows = rows.filter(pk=body.version_of) if is_id(body.version_of) else rows.filter(name__iexact=body.version_of).order_by("-version")
        before = rows.filter(data_center=vm.cluster.data_center_id).first() if vm else None
        if before is None:
            raise FieldError("version_of", "There is no such template there that you may change.")
    return 202, vm_services.make_template(request.user, vm, body.name, description=body.description, version_of=before)


@router.get("/templates/{uuid:pk}", response={200: TemplateOut, 404: Problem}, tags=["Templates"], summary="Get a template")
def get_template(request: HttpRequest, pk: UUID) -> Any:
    return visible(Template, request.user, pk, "data_center")


@router.patch(
    "/templates/{uuid:pk}",
    response={200: TemplateOut, 403: Problem, 404: Problem, 422: Problem},
    tags=["Templates"],
    summary="Change a template",
)
def change_template(request: HttpRequest, pk: UUID, body: TemplatePatch) -> Any:
    """VMs that were made of it stay as they are."""
    template = visible(Template, request.user, pk, "data_center")
    return template_services.edit(request.user, template, body.model_dump(exclude_none=True))  # type: ignore[arg-type]


@router.delete(
    "/templates/{uuid:pk}",
    response={202: JobOut, 403: Problem, 404: Problem, 409: Problem},
    tags=["Templates"],
    summary="Remove a template",
)
def remove_template(request: HttpRequest, pk: UUID) -> Any:
    """This version alone; 409 while VMs are thin copies of it."""
    return 202, vm_services.remove_template(request.user, visible(Template, request.user, pk))


@router.get("/clusters", response=Page[ClusterOut], tags=["Inventory"], summary="List clusters")
def list_clusters(request: HttpRequest, paging: Query[Paging], name: str | None = None) -> Any:
    return page_of(filtered(Cluster.objects.visible_to(request.user).select_related("data_center"), {"name": name}), paging)


@router.get("/data-centers", response=Page[DataCenterOut], tags=["Inventory"], summary="List data centers")
def list_data_centers(request: HttpRequest, paging: Query[Paging], name: str | None = None) -> Any:
    return page_of(filtered(DataCenter.objects.visible_to(request.user), {"name": name}), paging)


@router.get("/storage-domains", response=Page[StorageDomainOut], tags=["Inventory"], summary="List storage domains")
def list_storage_domains(request: HttpRequest, paging: Query[Paging], name: str | None = None) -> Any:
    return page_of(filtered(StorageDomain.objects.visible_to(request.user).select_related("data_center"), {"name": name}), paging)


@router.get("/disks", response=Page[DiskOut], tags=["Inventory"], summary="List disks")
def list_disks(request: HttpRequest, paging: Query[Paging], name: str | None = None, content: str | None = None) -> Any:
    return page_of(filtered(Disk.objects.visible_to(request.user).select_related("domain"), {"name": name, "content": content}), paging)


@router.get("/networks", response=Page[NetworkOut], tags=["Inventory"], summary="List networks")
def list_networks(request: HttpRequest, paging: Query[Paging], name: str | None = None, cluster: str | None = None) -> Any:
    return page_of(
        filtered(Network.objects.visible_to(request.user).select_related("cluster"), {"name": name, "cluster__name": cluster}), paging
    )
