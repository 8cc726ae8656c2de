"""One form page: shows a form, hands its data to a service, and puts the service's refusal at the field at fault."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.forms import add_errors
from portal.pages.actions import REFUSALS


def form_page(
    request: HttpRequest, form: forms.Form, run: Callable[[dict[str, Any]], HttpResponse], template: str = "pages/form.html", **context: Any
) -> HttpResponse:
    """Args: run: called with the cleaned data; its answer is the page's. context: title, verb, back, text."""
    if request.method == "POST" and form.is_valid():
        try:
            return run(form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        except REFUSALS as error:
            form.add_error(None, str(error))
    return render(request, template, {"form": form, **context}, status=422 if form.errors else 200)
