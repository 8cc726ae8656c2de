"""Quotas: those that one may view, and one's own, with what is used; making and changing them, and who holds them."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Query, Router

from accounts.models import Group, User
from accounts.permissions import require
from accounts.quotas import services
from accounts.quotas.models import Quota, Resource
from api.lookup import Paging, filtered, named, one_of, page_of
from api.people_schemas import HolderIn, HolderOut, LimitIn, QuotaIn, QuotaOut, QuotaPatch
from api.schemas import Page, Problem
from hosts.models import DataCenter
from portal.errors import FieldError

router = Router(tags=["People"])
REFUSED = {403: Problem, 404: Problem, 409: Problem, 422: Problem}


def _rows(request: HttpRequest) -> Any:
    return Quota.objects.seen_by(request.user).select_related("data_center").order_by("name", "pk")  # type: ignore[arg-type]


@router.get("/quotas", response=Page[QuotaOut], summary="List quotas")
def list_quotas(request: HttpRequest, paging: Query[Paging], name: str | None = None, data_center: str | None = None) -> Any:
    return page_of(filtered(_rows(request), {"name": name, "data_center__name": data_center}), paging)


@router.post("/quotas", response={201: QuotaOut, 403: Problem, 422: Problem}, summary="Make a quota")
def create_quota(request: HttpRequest, body: QuotaIn) -> Any:
    data_center = named(DataCenter, request.user, "data_center", body.data_center)
    if data_center is None:
        raise FieldError("data_center", "In which data center?")
    require(request.user, "quota.manage", data_center)
    quota = Quota(**body.model_dump(exclude={"limits", "data_center"}, exclude_none=True), data_center=data_center)
    return 201, services.save(request.user, quota, _limits(quota, body.limits))  # type: ignore[arg-type]


@router.get("/quotas/{uuid:pk}", response={200: QuotaOut, 404: Problem}, summary="Get a quota")
def get_quota(request: HttpRequest, pk: UUID) -> Any:
    return _find(request, pk)


@router.patch("/quotas/{uuid:pk}", response={200: QuotaOut} | REFUSED, summary="Change a quota")
def change_quota(request: HttpRequest, pk: UUID, body: QuotaPatch) -> Any:
    """`limits`, when given, are then all that it has."""
    quota = _managed(request, pk)
    for field, value in body.model_dump(exclude={"limits"}, exclude_none=True).items():
        setattr(quota, field, value)
    limits = _stored(quota) if body.limits is None else _limits(quota, body.limits)
    return services.save(request.user, quota, limits)  # type: ignore[arg-type]


@router.delete("/quotas/{uuid:pk}", response={204: None} | REFUSED, summary="Remove a quota that nothing counts against")
def remove_quota(request: HttpRequest, pk: UUID) -> Any:
    services.remove(request.user, _managed(request, pk))  # type: ignore[arg-type]
    return 204, None


@router.get("/quotas/{uuid:pk}/holders", response={200: list[HolderOut]} | REFUSED, summary="Who may use a quota")
def list_holders(request: HttpRequest, pk: UUID) -> Any:
    return _managed(request, pk).holders.select_related("user", "group").order_by("pk")


@router.post("/quotas/{uuid:pk}/holders", response={201: HolderOut} | REFUSED, summary="Let a user or a group use a quota")
def add_holder(request: HttpRequest, pk: UUID, body: HolderIn) -> Any:
    quota = _managed(request, pk)
    user = _person(User.objects.filter(is_active=True), "user", "username", body.user)
    group = _person(Group.objects.all(), "group", "name", body.group)
    if (user is None) == (group is None):
        raise FieldError("user", "Name one user or one group.")
    return 201, services.add_holder(request.user, quota, user=user, group=group)  # type: ignore[arg-type]


@router.delete("/quotas/{uuid:pk}/holders/{uuid:holder_pk}", response={204: None} | REFUSED, summary="Take a quota from a user or a group")
def remove_holder(request: HttpRequest, pk: UUID, holder_pk: UUID) -> Any:
    holder = _managed(request, pk).holders.filter(pk=holder_pk).first()
    if holder is None:
        raise Http404("Nobody of this id uses the quota.")
    services.remove_holder(request.user, holder)  # type: ignore[arg-type]
    return 204, None


def _find(request: HttpRequest, pk: UUID) -> Quota:
    found = _rows(request).filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such quota, or you may not see it.")
    return found


def _managed(request: HttpRequest, pk: UUID) -> Quota:
    quota = _find(request, pk)
    require(request.user, "quota.manage", quota.data_center)
    return quota


def _person(rows: Any, field: str, lookup: str, name: str) -> Any:
    if not name:
        return None
    found = rows.filter(**{f"{lookup}__iexact": name}).first()
    if found is None:
        raise FieldError(field, f"There is no {field} «{name[:100]}».")
    return found


def _stored(quota: Quota) -> dict[services.LimitKey, int]:
    return {(Resource(row.resource), row.cluster_id or row.storage_domain_id): row.amount for row in quota.limits.all()}


def _limits(quota: Quota, given: list[LimitIn]) -> dict[services.LimitKey, int]:
    """Raises FieldError for a place that is none, and for a limit that is given twice."""
    found: dict[services.LimitKey, int] = {}
    for limit in given:
        cluster = one_of(quota.data_center.clusters.all(), "cluster", limit.cluster)
        storage = one_of(quota.data_center.storage_domains.all(), "storage_domain", limit.storage_domain)
        resource = Resource(limit.resource)
        if (storage if resource != Resource.STORAGE else cluster) is not None:
            raise FieldError("limits", "Storage is limited by storage domain, everything else by cluster.")
        place = cluster or storage
        key = (resource, None if place is None else place.pk)
        if key in found:
            raise FieldError("limits", f"Two limits for {resource.label} at one place.")
        found[key] = limit.amount
    return found
