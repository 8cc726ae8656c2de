"""Quotas: those that one may view, and one's own, with what is used."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Query, Router

from accounts.quotas.models import Quota
from api.lookup import Paging, filtered, page_of
from api.people_schemas import QuotaOut
from api.schemas import Page, Problem

router = Router(tags=["People"])


def _rows(request: HttpRequest) -> Any:
    return Quota.objects.seen_by(request.user).select_related("data_center").order_by("name", "pk")  # type: ignore[arg-type]


@router.get("/quotas", response=Page[QuotaOut], summary="List quotas")
def list_quotas(request: HttpRequest, paging: Query[Paging], name: str | None = None, data_center: str | None = None) -> Any:
    return page_of(filtered(_rows(request), {"name": name, "data_center__name": data_center}), paging)


@router.get("/quotas/{uuid:pk}", response={200: QuotaOut, 404: Problem}, summary="Get a quota")
def get_quota(request: HttpRequest, pk: UUID) -> Any:
    found = _rows(request).filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such quota, or you may not see it.")
    return found
