"""The small filter language of lists, shared with the API: `status:up host:node1 cpu>4 -tag:test free text`.

Pure parsing, and its translation to a queryset filter by the fields that a list declares.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from portal.errors import FieldError

LONGEST = 500
MOST_TERMS = 20
_TERM = re.compile(r'(-?)(?:([a-z_]+)(:|>=|<=|>|<)("[^"]*"|\S+)|("[^"]*"|\S+))', re.IGNORECASE)
_COMPARE = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_MULTIPLIER = {"k": 1, "m": 1, "g": 2**10, "t": 2**20}


@dataclass(frozen=True)
class Term:
    """Args: field: empty for free text. operator: ":" or a comparison."""

    field: str
    operator: str
    value: str
    negated: bool = False


@dataclass(frozen=True)
class FilterField:
    """What a list lets one filter by.

    Args:
        lookup: from the model to the column.
        kind: text (contains), choice (is), number, mib (a number that may carry a unit), tags (a JSON list holds it),
            time (a day, or a day and a time, in UTC).
    """

    lookup: str
    kind: str = "text"


def parse(text: str) -> list[Term]:
    """Raises FieldError (field "q") for what is too long."""
    if len(text) > LONGEST:
        raise FieldError("q", "The filter is too long.")
    if "\0" in text:
        raise FieldError("q", "The filter has a NUL character in it.")
    terms = []
    for sign, field, operator, value, free in _TERM.findall(text):
        word = (value or free).strip('"')
        if word and word != "-":
            terms.append(Term(field.lower(), operator or ":", word, bool(sign)))
    if len(terms) > MOST_TERMS:
        raise FieldError("q", f"A filter has at most {MOST_TERMS} terms.")
    return terms


def apply_filter(rows: QuerySet, text: str, fields: dict[str, FilterField], free: tuple[str, ...] = ("name", "description")) -> QuerySet:
    """The rows that fit every term; free text fits any of the `free` columns.

    Raises:
        FieldError: field "q", with what can be filtered by.
    """
    for term in parse(text):
        if not term.field:
            condition = reduce(or_, (Q(**{f"{column}__icontains": term.value}) for column in free))
        else:
            field = fields.get(term.field)
            if field is None:
                raise FieldError("q", f"There is nothing to filter by «{term.field}»; there are {', '.join(sorted(fields))}.")
            if field.kind == "tags":
                rows = rows.alias(**{f"{term.field}_text": Cast(field.lookup, TextField())})
            condition = _condition(term, field)
        rows = rows.exclude(condition) if term.negated else rows.filter(condition)
    return rows


def _condition(term: Term, field: FilterField) -> Q:
    if field.kind in ("number", "mib"):
        number = _number(term, field.kind)
        return Q(**{f"{field.lookup}__{_COMPARE[term.operator]}": number}) if term.operator != ":" else Q(**{field.lookup: number})
    if field.kind == "time":
        return _time(term, field.lookup)
    if term.operator != ":":
        raise FieldError("q", f"«{term.field}» is no number: write {term.field}:value.")
    if field.kind == "tags":
        return Q(**{f"{term.field}_text__icontains": f'"{term.value}"'})
    if field.kind == "choice":
        return Q(**{f"{field.lookup}__iexact": term.value.replace("-", "_").replace(" ", "_")})
    return Q(**{f"{field.lookup}__icontains": term.value})


def _number(term: Term, kind: str) -> int:
    found = re.fullmatch(r"(\d{1,12})\s*([kmgt]?)(?:i?b)?", term.value.lower())
    if not found or (found[2] and kind != "mib"):
        raise FieldError("q", f"«{term.field}» is a number, e.g. {term.field}{term.operator}4.")
    return int(found[1]) * (_MULTIPLIER[found[2]] if found[2] else 1)


def _time(term: Term, lookup: str) -> Q:
    """`:` is the whole day, or the whole minute; a comparison counts from its beginning or its end."""
    try:
        begin = datetime.fromisoformat(term.value.upper()).replace(tzinfo=UTC)
        end = begin + (timedelta(minutes=1) if "T" in term.value.upper() else timedelta(days=1))
    except (ValueError, OverflowError):
        raise FieldError(
            "q", f"«{term.field}» is a day or a time, e.g. {term.field}>=2026-01-31 or {term.field}<2026-01-31T18:00."
        ) from None
    if term.operator == ":":
        return Q(**{f"{lookup}__gte": begin, f"{lookup}__lt": end})
    edges = {">": ("gte", end), ">=": ("gte", begin), "<": ("lt", begin), "<=": ("lt", end)}
    word, edge = edges[term.operator]
    return Q(**{f"{lookup}__{word}": edge})
