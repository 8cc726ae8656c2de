"""From what a caller wrote to rows that this user may see: names or ids, pages, filters."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from ninja import Query, Schema
from pydantic import Field

from portal.errors import FieldError


class Paging(Schema):
    limit: int = Field(100, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=10_000_000)


PagingQuery = Query(...)


def page_of(rows: QuerySet, paging: Paging) -> dict[str, Any]:
    """One page and the count of all; two queries whatever the size."""
    return {"items": list(rows[paging.offset : paging.offset + paging.limit]), "count": rows.count()}


def visible(model: Any, user: Any, pk: UUID, *related: str) -> Any:
    """The row, if this user may see it; otherwise it does not exist for them."""
    found = model.objects.visible_to(user).select_related(*related).filter(pk=pk).first()
    if found is None:
        raise Http404(f"There is no such {model._meta.verbose_name}, or you may not see it.")
    return found


def named(model: Any, user: Any, field: str, text: str | None, permission: str = "", **filters: Any) -> Any:
    """The row that a body's field names, by id or by name (None: nothing was named), of those on which the user holds the permission.

    Raises FieldError when there is none that the user may use, or when a name fits several.
    """
    return one_of(model.objects.visible_to(user, permission).filter(**filters), field, text)


def one_of(rows: QuerySet, field: str, text: str | None) -> Any:
    """The same, of any rows."""
    if not text:
        return None
    try:
        rows = rows.filter(pk=UUID(text))
    except ValueError:
        rows = rows.filter(name__iexact=text)
    found = list(rows[:2])
    if not found:
        raise FieldError(field, f"There is no {rows.model._meta.verbose_name} «{text[:100]}», or you may not use it.")
    if len(found) > 1:
        raise FieldError(field, f"Several are called «{text[:100]}»; give the id.")
    return found[0]


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def filtered(rows: QuerySet, filters: dict[str, str | None]) -> QuerySet:
    """Exact filters, those that were given; text compares without case."""
    return rows.filter(**{f"{lookup}__iexact": value for lookup, value in filters.items() if value})
