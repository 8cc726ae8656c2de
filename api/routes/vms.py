"""VMs: list, get, create, change, act, remove."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router

from accounts.permissions import require
from accounts.quotas.models import Quota
from api.lookup import Paging, filtered, is_id, named, one_of, page_of, visible
from api.routes.guest import settings_of
from api.schemas import ActionIn, JobOut, MigrateIn, Page, Problem, VmAndJob, VmIn, VmOut, VmPatch
from hosts.migration_policies.policies import options_of
from hosts.models import Cluster, Host
from networks.models import Network
from portal.errors import FieldError
from portal.pages.filtering import apply_filter
from storage.models import Disk, StorageDomain
from vms import services
from vms.can import ACTIONS
from vms.migration import services as migration
from vms.models import VM, InstanceType, Template
from vms.pages import VM_FILTERS
from vms.template_services import named_for_use

router = Router(tags=["VMs"])
RELATED = ("cluster", "host", "template")


@router.get("", response=Page[VmOut], summary="List VMs")
def list_vms(
    request: HttpRequest,
    paging: Query[Paging],
    name: str | None = None,
    status: str | None = None,
    cluster: str | None = None,
    host: str | None = None,
    q: str = "",
) -> Any:
    """`q` is the filter of the list page, e.g. `status:up host:node1 -tag:test`."""
    rows = VM.objects.visible_to(request.user).select_related(*RELATED)
    rows = filtered(rows, {"name": name, "status": status, "cluster__name": cluster, "host__name": host})
    return page_of(apply_filter(rows, q, VM_FILTERS), paging)


@router.post("", response={202: VmAndJob, 403: Problem, 409: Problem, 422: Problem}, summary="Create a VM")
def create_vm(request: HttpRequest, body: VmIn) -> Any:
    user = request.user
    cluster = named(Cluster, user, "cluster", body.cluster)
    template = _template(user, body)
    size = one_of(InstanceType.objects.all(), "instance_type", body.instance_type)
    defaults = size or template
    new = services.NewVm(
        name=body.name,
        cluster=cluster,
        template=template,
        iso=named(Disk, user, "iso", body.iso, content="iso"),
        memory_mib=body.memory_mib if body.memory_mib is not None else defaults.memory_mib if defaults else 512,
        vcpus=body.vcpus if body.vcpus is not None else defaults.vcpus if defaults else 1,
        disk_bytes=body.disk_bytes,
        network=named(Network, user, "network", body.network, "network.use", cluster=cluster),
        storage_domain=named(StorageDomain, user, "storage_domain", body.storage_domain, "storage_domain.use"),
        host=named(Host, user, "host", body.host),
        quota=one_of(Quota.objects.seen_by(user), "quota", body.quota),  # type: ignore[arg-type]
        description=body.description,
        tags=tuple(body.tags),
        start=body.start,
        full_copy=body.full_copy,
        first_boot=settings_of(body.first_boot) if body.first_boot else None,
    )
    vm, job = services.create(user, new)
    return 202, {"vm": vm, "job": job}


def _template(user: Any, body: VmIn) -> Template | None:
    if not body.template:
        return None
    if body.template_version is None and is_id(body.template):
        return named(Template, user, "template", body.template, "template.use")
    return named_for_use(user, body.template, body.template_version)


@router.get("/{uuid:pk}", response={200: VmOut, 404: Problem}, summary="Get a VM")
def get_vm(request: HttpRequest, pk: UUID) -> Any:
    return visible(VM, request.user, pk, *RELATED)


@router.patch("/{uuid:pk}", response={200: VmOut, 202: VmAndJob, 409: Problem, 422: Problem}, summary="Change a VM")
def change_vm(request: HttpRequest, pk: UUID, body: VmPatch) -> Any:
    """What needs a restart waits in `next_run`."""
    changes = body.model_dump(exclude_none=True)
    vm, job = services.edit(request.user, visible(VM, request.user, pk, *RELATED), changes)
    return (202, {"vm": vm, "job": job}) if job else (200, vm)


@router.delete("/{uuid:pk}", response={202: JobOut, 409: Problem}, summary="Remove a VM")
def remove_vm(request: HttpRequest, pk: UUID, keep_disks: bool = False) -> Any:
    return 202, services.remove(request.user, visible(VM, request.user, pk, *RELATED), keep_disks=keep_disks)


@router.post("/{uuid:pk}/migrate", response={202: JobOut, 403: Problem, 404: Problem, 409: Problem, 422: Problem}, summary="Move a VM live")
def migrate_vm(request: HttpRequest, pk: UUID, body: MigrateIn | None = None) -> Any:
    """To the host that is named, or to the best."""
    asked = (body or MigrateIn()).model_dump(exclude_none=True)
    vm = visible(VM, request.user, pk, *RELATED)
    require(request.user, "vm.migrate", vm)
    target = named(Host, request.user, "host", asked.pop("host", None))
    options = replace(options_of(vm.cluster), **asked) if asked else None
    return 202, migration.migrate(request.user, vm, target, options)  # type: ignore[arg-type]


@router.post("/{uuid:pk}/{action}", response={202: JobOut, 403: Problem, 404: Problem, 409: Problem, 422: Problem}, summary="Act on a VM")
def act_on_vm(request: HttpRequest, pk: UUID, action: str, body: ActionIn | None = None) -> Any:
    """start, start_paused, run_once, shutdown, poweroff, reboot, reset, pause, resume."""
    vm = visible(VM, request.user, pk, *RELATED)
    if action not in ACTIONS or action in services.NOT_BY_ACT:
        raise FieldError("action", f"There is no action «{action[:40]}».")
    options: dict[str, Any] = {}
    if body and body.force:
        options["force"] = True
    if body and action == "run_once":
        iso = named(Disk, request.user, "iso", body.iso, content="iso")
        options |= {"paused": body.paused} | ({"iso": str(iso.pk)} if iso else {})
    return 202, services.act(request.user, vm, action, **options)
