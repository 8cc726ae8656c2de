"""The pages for what is not there, not allowed, or not done: never a traceback."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def _show(request: HttpRequest, status: int, icon: str, title: str, text: str) -> HttpResponse:
    return render(request, "pages/error.html", {"icon": icon, "title": title, "text": text}, status=status)


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return _show(
        request,
        404,
        "question-mark",
        "Not found",
        "There is nothing at this address, or you may not see it. It may have been removed meanwhile.",
    )


def forbidden(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return _show(request, 403, "lock", "Not permitted", str(exception) or "No grant of yours allows this.")


def bad_csrf(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _show(
        request,
        403,
        "lock",
        "The form has expired",
        "Your session changed since the page was opened. Go back, reload the page and send it again.",
    )
