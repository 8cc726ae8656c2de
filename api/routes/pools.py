"""Pools: list, get, create, change, remove; take a machine, give it back."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router

from accounts.permissions import require
from api.lookup import Paging, filtered, named, page_of, visible
from api.pool_schemas import PoolIn, PoolOut, PoolPatch
from api.schemas import Page, Problem, VmOut
from hosts.models import Cluster
from portal.errors import FieldError
from vms.models import VM, Template
from vms.pools import services
from vms.pools.models import Pool

router = Router(tags=["Pools"])
RELATED = ("cluster__data_center", "template", "keeper")
REFUSED = {403: Problem, 404: Problem, 409: Problem, 422: Problem}


@router.get("", response=Page[PoolOut], summary="List pools")
def list_pools(request: HttpRequest, paging: Query[Paging], name: str | None = None, cluster: str | None = None) -> Any:
    rows = Pool.objects.visible_to(request.user).select_related(*RELATED).order_by("name", "pk")
    return page_of(filtered(rows, {"name": name, "cluster__name": cluster}), paging)


@router.post("", response={201: PoolOut, 403: Problem, 422: Problem}, summary="Make a pool")
def create_pool(request: HttpRequest, body: PoolIn) -> Any:
    """Its machines are made in the background."""
    user = request.user
    cluster = named(Cluster, user, "cluster", body.cluster)
    if cluster is None:
        raise FieldError("cluster", "In which cluster?")
    require(user, "pool.create", cluster)
    template = named(Template, user, "template", body.template, "template.use")
    if template is None:
        raise FieldError("template", "Of which template?")
    return 201, services.save(user, Pool(**body.model_dump() | {"cluster": cluster, "template": template}))  # type: ignore[arg-type]


@router.get("/{uuid:pk}", response={200: PoolOut, 404: Problem}, summary="Get a pool")
def get_pool(request: HttpRequest, pk: UUID) -> Any:
    return visible(Pool, request.user, pk, *RELATED)


@router.patch("/{uuid:pk}", response={200: PoolOut} | REFUSED, summary="Change a pool")
def change_pool(request: HttpRequest, pk: UUID, body: PoolPatch) -> Any:
    pool = visible(Pool, request.user, pk, *RELATED)
    require(request.user, "pool.edit", pool)
    changes = body.model_dump(exclude_none=True)
    if "template" in changes:
        changes["template"] = named(Template, request.user, "template", changes["template"], "template.use")
    for field, value in changes.items():
        setattr(pool, field, value)
    return services.save(request.user, pool)  # type: ignore[arg-type]


@router.delete("/{uuid:pk}", response={204: None} | REFUSED, summary="Remove a pool of which nobody has a machine")
def remove_pool(request: HttpRequest, pk: UUID) -> Any:
    services.remove(request.user, visible(Pool, request.user, pk, *RELATED))  # type: ignore[arg-type]
    return 204, None


@router.post("/{uuid:pk}/take", response={200: VmOut} | REFUSED, summary="Take a machine of the pool")
def take(request: HttpRequest, pk: UUID) -> Any:
    """It runs, or starts at once, and is yours until you give it back."""
    vm = services.take(request.user, visible(Pool, request.user, pk, *RELATED))  # type: ignore[arg-type]
    return VM.objects.select_related("cluster", "host", "template").get(pk=vm.pk)


@router.post("/{uuid:pk}/give-back/{uuid:vm_pk}", response={204: None} | REFUSED, summary="Give a machine back")
def give_back(request: HttpRequest, pk: UUID, vm_pk: UUID) -> Any:
    """One that you took; with pool.edit anybody's."""
    vm = visible(VM, request.user, vm_pk, "pool", "cluster")
    if vm.pool_id != pk:
        raise FieldError("vm", f"{vm} is none of this pool.")
    services.give_back(request.user, vm)  # type: ignore[arg-type]
    return 204, None
