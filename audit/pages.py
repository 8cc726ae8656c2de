"""The audit log's list, its entries and its exports, for who may see the whole system."""

import json
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from accounts.permissions import require
from audit import export, log
from audit.models import Entry
from portal.errors import FieldError
from portal.pages import lists
from portal.pages.filtering import FilterField, apply_filter

LIST = lists.ListPage(
    title="Audit",
    row_template="audit/row.html",
    columns=(
        lists.Column("at", "Time", "id"),
        lists.Column("who", "Who", "actor_name"),
        lists.Column("action", "Action", "action"),
        lists.Column("message", "What"),
        lists.Column("object", "Object", "object_name"),
        lists.Column("outcome", "Outcome", "outcome"),
        lists.Column("from", "From", "address"),
    ),
    empty=lists.Empty(
        "certificate", "No entries yet", "Every change, every refused attempt, every sign-in and every console is written here for good."
    ),
    live="event",
    filters={
        "who": FilterField("actor_name"),
        "as": FilterField("as_whom"),
        "action": FilterField("action"),
        "object": FilterField("object_name"),
        "type": FilterField("object_type", "choice"),
        "id": FilterField("object_id"),
        "outcome": FilterField("outcome", "choice"),
        "by": FilterField("channel", "choice"),
        "address": FilterField("address"),
        "token": FilterField("token"),
        "job": FilterField("job_id"),
        "time": FilterField("at", "time"),
    },
    default_sort="-at",
    free=("message", "actor_name", "object_name", "action"),
    hint="who:anna outcome:refused time>=2026-01-31",
)
# What people look for most, one click away.
SHORTCUTS = (
    ("Everything", ""),
    ("Refused", "outcome:refused"),
    ("Failed", "outcome:failed"),
    ("Sign-ins", "action:session."),
    ("Consoles", "action:console."),
    ("Grants", "action:grant."),
    ("By API", "by:api"),
)


@require_GET
def entry_list(request: HttpRequest) -> HttpResponseBase:
    require(request.user, "system.view")
    form = request.GET.get("format", "")
    if form in export.FORMATS:
        return _export(request, form)
    return lists.show(request, LIST, Entry.objects.all(), template="audit/list.html", shortcuts=SHORTCUTS)


def _export(request: HttpRequest, form: str) -> HttpResponseBase:
    """The rows of the list, with all that their entries hold. Whoever takes them away is written down too."""
    words = request.GET.get("q", "").strip()
    try:
        found: QuerySet[Entry] = apply_filter(Entry.objects.all(), words, LIST.filters, LIST.free)
    except FieldError as error:
        return HttpResponse(error.text, status=422, content_type="text/plain; charset=utf-8")
    rows, _order = LIST.sorted(found, request.GET.get("sort", LIST.default_sort))
    log.append("audit.exported", f"The audit log was exported as {form}", details={"filter": words})
    response = StreamingHttpResponse(export.stream(rows, form), content_type=export.FORMATS[form])
    response["Content-Disposition"] = f'attachment; filename="audit.{form}"'
    response["Cache-Control"] = "no-store"
    return response


@require_GET
def entry(request: HttpRequest, pk: int) -> HttpResponse:
    require(request.user, "system.view")
    shown = get_object_or_404(Entry, pk=pk)
    context = {
        "entry": shown,
        "compared": _compared(shown),
        "details": [(name, _words(value)) for name, value in shown.details.items()],
        "earlier": Entry.objects.filter(pk__lt=pk).order_by("-pk").values_list("pk", flat=True).first(),
        "later": Entry.objects.filter(pk__gt=pk).order_by("pk").values_list("pk", flat=True).first(),
    }
    return render(request, "audit/entry.html", context)


def _compared(shown: Entry) -> list[tuple[str, str, str]]:
    """(field, before, after)"""
    names = list({**shown.before, **shown.after})
    return [(name, _words(shown.before.get(name)), _words(shown.after.get(name))) for name in names]


def _words(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
