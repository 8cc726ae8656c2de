"""An object's actions as pages show them, and the answer to one that was clicked."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse

from jobs.errors import ObjectBusy
from jobs.models import Job
from portal.errors import NotPossible
from portal.verdict import Action, Verdict

REFUSALS = (NotPossible, ObjectBusy, ValidationError)


@dataclass
class Entry:
    """One button or menu entry.

    Args:
        url: where it posts to, or with `opens` where it leads.
        quick: may stand outside of the menu.
        confirm: the sentence that asks before it acts; empty: it acts at once.
    """

    action: Action
    verdict: Verdict
    url: str
    opens: bool = False
    quick: bool = False
    confirm: str = ""
    first_of_group: bool = False

    @property
    def name(self) -> str:
        return self.action.name

    @property
    def title(self) -> str:
        return self.action.title

    @property
    def icon(self) -> str:
        return self.action.icon

    @property
    def group(self) -> str:
        return self.action.group

    @property
    def danger(self) -> bool:
        return self.action.danger


def entries(
    known: dict[str, Action],
    verdicts: dict[str, Verdict | None],
    post_url: Any,
    *,
    opens: dict[str, str] | None = None,
    quick: tuple[str, ...] = (),
    confirm: dict[str, str] | None = None,
) -> list[Entry]:
    """Entries of every action that this user may ever do.

    Args:
        post_url: from an action's name to the URL that does it.
        opens: actions that lead to a page instead: name -> URL.
    """
    found = []
    for name, action in known.items():
        verdict = verdicts.get(name)
        if verdict is None:
            continue
        page = (opens or {}).get(name)
        found.append(Entry(action, verdict, page or post_url(name), page is not None, name in quick, (confirm or {}).get(name, "")))
    return found


def words_of(error: Exception) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)


def answer(request: HttpRequest, back: str, message: str, job: Job | None = None, status: int = 202) -> HttpResponse:
    """What was asked for has begun: a toast for the page's script, a redirect with a message for a plain form."""
    if request.headers.get("HX-Request"):
        return JsonResponse({"message": message, "kind": "info", "href": reverse("jobs:job", args=[job.pk]) if job else ""}, status=status)
    messages.info(request, message)
    return redirect(back)


def refuse(request: HttpRequest, back: str, error: Exception) -> HttpResponse:
    """It cannot be done now: the reason where the user looks, and 409 for the script."""
    text = words_of(error)
    if request.headers.get("HX-Request"):
        return JsonResponse({"message": text, "kind": "error"}, status=422 if isinstance(error, ValidationError) else 409)
    messages.error(request, text)
    return redirect(back)
