"""The button "Build a Debian image" of the templates page."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from lab import debian_template
from portal.pages.actions import REFUSALS, words_of


@require_POST
def build_debian(request: HttpRequest) -> HttpResponse:
    try:
        _template, job = debian_template.ask(request.user)  # type: ignore[arg-type]
    except REFUSALS as error:
        messages.error(request, words_of(error))
    else:
        messages.info(request, f"{job.title}: asked for. It takes a few minutes.")
    return redirect("vms:templates")
