"""The audit log, for programs that collect such logs."""

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from accounts.permissions import require
from api.lookup import Paging, page_of
from api.schemas import AuditEntryOut, Page, Problem
from audit.models import Entry
from audit.pages import LIST
from portal.pages.filtering import apply_filter

router = Router()


@router.get(
    "/audit", response={200: Page[AuditEntryOut], 403: Problem, 422: Problem}, tags=["Audit"], summary="List audit entries, newest first"
)
def list_entries(request: HttpRequest, paging: Query[Paging], q: str = "", after: int = 0) -> Any:
    """`q` filters as on the page, e.g. «who:anna outcome:refused time>=2026-01-31»; `after` leaves out entries up to that number."""
    require(request.user, "system.view")
    rows = apply_filter(Entry.objects.all(), q, LIST.filters, LIST.free)
    return page_of(rows.filter(pk__gt=after) if after else rows, paging)
