"""The short form of a new machine: a template, a name, a size."""

from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.permissions import anywhere
from accounts.quotas.shares import held_by
from portal.errors import NotPossible
from portal.forms import add_errors
from portal.selfservice.forms import NewMachineForm
from vms import services
from vms.guest.first_boot import keys_of
from vms.guest.forms import FirstBootForm
from vms.pages import suggested_name


def new(request: HttpRequest) -> HttpResponse:
    if "vm.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create machines: no grant gives you vm.create.")
    if request.method == "POST":
        form = NewMachineForm(request.user, request.POST)  # type: ignore[arg-type]
        told = FirstBootForm(request.user, request.POST, choose=False)  # type: ignore[arg-type]
        if form.is_valid() and told.is_valid():
            try:
                # A request without the section (a bookmark, a script) gets what the template says, with the user's keys.
                settings = told.settings(form.cleaned_data["template"]) if told.was_sent else None
                vm, _job = services.create(request.user, form.wanted(settings))  # type: ignore[arg-type]
            except ValidationError as error:
                if (rest := told.take_errors(error)) is not None:
                    add_errors(form, rest)
            except NotPossible as error:
                form.add_error(None, str(error))
            else:
                return redirect(vm)
    else:
        form = NewMachineForm(request.user, initial=_ready_to_send(request))  # type: ignore[arg-type]
        told = FirstBootForm(request.user, choose=False)  # type: ignore[arg-type]
    context = {
        "form": form,
        "first_boot": told,
        "keys": keys_of(request.user),  # type: ignore[arg-type]
        "templates": form.fields["template"].queryset.exists(),  # type: ignore[attr-defined]
        "held_quotas": held_by(request.user),  # type: ignore[arg-type]
    }
    return render(request, "selfservice/new.html", context, status=422 if form.errors or told.errors else 200)


def _ready_to_send(request: HttpRequest) -> dict[str, object]:
    """The first template is chosen, or the one that `?template=` names, and a name that is free."""
    templates = NewMachineForm(request.user).fields["template"].queryset  # type: ignore[arg-type, attr-defined]
    try:
        chosen = templates.filter(pk=UUID(request.GET.get("template", ""))).first()
    except ValueError:
        chosen = None
    chosen = chosen or templates.first()
    return {"name": suggested_name(request), "template": chosen.pk if chosen else None, "size": ""}
