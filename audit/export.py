"""Entries as CSV or as JSON lines: for the page and for the command."""

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from audit.models import Entry
from portal.pages.lists import safe_cell

FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
_NAMES = tuple(field.attname for field in Entry._meta.concrete_fields)


class _Echo:
    def write(self, value: str) -> str:
        return value


def lines(entries: Iterable[Entry], form: str) -> Iterator[str]:
    """Each with its line end. What is written there is on one line and, in CSV, no formula for a spreadsheet."""
    return _csv(entries) if form == "csv" else _jsonl(entries)


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
