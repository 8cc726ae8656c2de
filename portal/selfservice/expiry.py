"""The end of a lent machine: its user prolongs it, an administrator sets it."""

from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.permissions import require
from portal.forms import add_errors
from portal.pages.actions import REFUSALS, words_of
from vms import expiry, pages


class ExpiryForm(forms.Form):
    expires_at = forms.DateField(
        required=False,
        label="Last day",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="It is shut down at the end of this day (UTC), and removed after days of grace unless it is protected. Empty: it has no end.",
    )

    def clean_expires_at(self) -> datetime | None:
        day = self.cleaned_data["expires_at"]
        return datetime.combine(day, time(23, 59, 59), UTC) if day else None


@require_POST
def prolong(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = pages.find(request, pk)
    try:
        vm = expiry.prolong(request.user, vm)  # type: ignore[arg-type]
    except REFUSALS as error:
        messages.error(request, words_of(error))
    else:
        messages.success(request, f"{vm.name} is yours until {vm.expires_at:%Y-%m-%d}.")
    return redirect(vm)


def set_expiry(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = pages.find(request, pk)
    require(request.user, "cluster.edit", vm.cluster)
    posted = request.POST if request.method == "POST" else None
    form = ExpiryForm(posted, initial={"expires_at": vm.expires_at.date() if vm.expires_at else None})
    if posted is not None and form.is_valid():
        try:
            expiry.set_expiry(request.user, vm, form.cleaned_data["expires_at"])  # type: ignore[arg-type]
        except ValidationError as error:
            add_errors(form, error)
        except REFUSALS as error:
            form.add_error(None, words_of(error))
        else:
            return redirect(f"{vm.get_absolute_url()}?tab=settings")
    context: dict[str, Any] = {
        "form": form,
        "title": f"End of {vm.name}",
        "verb": "Save",
        "back": vm.get_absolute_url(),
        "back_title": vm.name,
    }
    return render(request, "pages/form.html", context, status=422 if form.errors else 200)
