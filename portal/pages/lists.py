"""The list page of every kind of object: filter, sort, pages, columns, CSV. A list declares itself; this draws it."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.text import slugify

from portal.errors import FieldError
from portal.pages.filtering import FilterField, apply_filter

PAGE_SIZE = 50
# A spreadsheet takes what begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Column:
    """Args: sort: the column to order by, empty when it cannot. csv: from a row to its text in an export. css: of its head."""

    name: str
    title: str
    sort: str = ""
    csv: Callable[[Any], Any] | None = None
    css: str = ""


@dataclass(frozen=True)
class Empty:
    """What a list without objects says: what these are, why one wants them, and the button that makes the first."""

    icon: str
    title: str
    text: str


@dataclass(frozen=True)
class ListPage:
    """Args: live: topics whose changes redraw the list. row_template: draws one `row`."""

    title: str
    row_template: str
    columns: Sequence[Column]
    empty: Empty
    live: str
    filters: dict[str, FilterField] = field(default_factory=dict)
    default_sort: str = "name"
    free: tuple[str, ...] = ("name", "description")
    hint: str = ""

    @property
    def key(self) -> str:
        """What a user's chosen columns are remembered by."""
        return slugify(self.title)

    def columns_for(self, user: Any) -> list[tuple[Column, bool]]:
        """Every column, and whether this user shows it; the first, which names the row, always is."""
        hidden = set(user.preferences.get("hidden_columns", {}).get(self.key, ()))
        return [(column, number == 0 or column.name not in hidden) for number, column in enumerate(self.columns)]

    def sorted(self, rows: QuerySet, wanted: str) -> tuple[QuerySet, str]:
        """Rows in the asked order (`-name` is descending), or in the list's own when the order is unknown."""
        orders = {column.name: column.sort for column in self.columns if column.sort}
        name = wanted.lstrip("-")
        if name not in orders:
            wanted, name = self.default_sort, self.default_sort.lstrip("-")
        sign = "-" if wanted.startswith("-") else ""
        return rows.order_by(f"{sign}{orders.get(name, name)}", "pk"), wanted


def show(
    request: HttpRequest,
    page: ListPage,
    rows: QuerySet,
    *,
    template: str = "pages/list.html",
    prepare: Callable[[Sequence[Any]], Iterable[Any]] = lambda rows: rows,
    **context: Any,
) -> HttpResponse:
    """The page of a list for a request.

    Args:
        rows: those that the user may see.
        prepare: what the rows of one page need beside themselves, read in bulk.
    """
    text = request.GET.get("q", "").strip()
    problem = ""
    try:
        found = apply_filter(rows, text, page.filters, page.free)
    except FieldError as error:
        problem, found = error.text, rows.none()
    found, order = page.sorted(found, request.GET.get("sort", page.default_sort))
    if request.GET.get("format") == "csv":
        return _csv(page, found)
    count = found.count()
    pages = max(1, -(-count // PAGE_SIZE))
    number = _page_number(request, pages)
    shown = list(prepare(list(found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE])))
    columns = page.columns_for(request.user)
    before = 2 if context.get("bulk") else 1  # cells are counted from 1, and the boxes of a selection come first
    context |= {
        "page": page,
        "columns": columns,
        "hidden": " ".join(str(number) for number, (_column, shown) in enumerate(columns, before) if not shown),
        "rows": shown,
        "count": count,
        "number": number,
        "pages": pages,
        "first": (number - 1) * PAGE_SIZE + 1,
        "last": (number - 1) * PAGE_SIZE + len(shown),
        "previous": number - 1 if number > 1 else None,
        "next": number + 1 if number < pages else None,
        "q": text,
        "problem": problem,
        "sort": order,
        "none_at_all": not count and not text,
    }
    return render(request, template, context, status=422 if problem else 200)


def _page_number(request: HttpRequest, pages: int) -> int:
    try:
        return min(max(1, int(request.GET.get("page", "1"))), pages)
    except ValueError:
        return 1


class _Echo:
    def write(self, value: str) -> str:
        return value


def safe_cell(value: Any) -> str:
    """The text of a cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(page: ListPage, rows: QuerySet) -> StreamingHttpResponse:
    columns = [column for column in page.columns if column.csv is not None]
    writer = csv.writer(_Echo())

    def lines() -> Iterable[str]:
        yield writer.writerow([column.title for column in columns])
        for row in rows.iterator(chunk_size=500):
            yield writer.writerow([safe_cell(column.csv(row)) for column in columns if column.csv is not None])

    response = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{page.title.lower().replace(" ", "-")}.csv"'
    return response
