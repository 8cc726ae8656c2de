"""Entries as CSV or as JSON lines: for the page and for the command."""

import csv
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from audit.models import Entry
from portal.pages.lists import safe_cell

FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
PIECE = 500
_NAMES = tuple(field.attname for field in Entry._meta.concrete_fields)


class _Echo:
    def write(self, value: str) -> str:
        return value


def lines(entries: Iterable[Entry], form: str) -> Iterator[str]:
    """Each with its line end. What is written there is on one line and, in CSV, no formula for a spreadsheet."""
    return _csv(entries) if form == "csv" else _jsonl(entries)


async def stream(entries: QuerySet[Entry], form: str) -> AsyncIterator[str]:
    """The same, a piece at a time: of an iterator that is not asynchronous Django would gather all of it in memory first."""
    found = await sync_to_async(lambda: lines(entries.iterator(chunk_size=PIECE), form))()
    while piece := await sync_to_async(lambda: "".join(islice(found, PIECE)))():
        yield piece


def _values(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _NAMES} | {"at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}


def _jsonl(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        yield json.dumps(_values(entry), ensure_ascii=False) + "\n"


def _csv(entries: Iterable[Entry]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(_NAMES)
    for entry in entries:
        yield writer.writerow([safe_cell(_cell(value)) for value in _values(entry).values()])


def _cell(value: Any) -> Any:
    return (json.dumps(value, ensure_ascii=False) if value else "") if isinstance(value, dict) else value
