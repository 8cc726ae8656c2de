"""The short form of a new machine: a template, a name, a size."""

from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.permissions import anywhere
from portal.errors import NotPossible
from portal.forms import add_errors
from portal.selfservice.forms import NewMachineForm
from portal.selfservice.home import QUOTA
from vms import services
from vms.pages import suggested_name


def new(request: HttpRequest) -> HttpResponse:
    if "vm.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create machines: no grant gives you vm.create.")
    if request.method == "POST":
        form = NewMachineForm(request.user, request.POST)  # type: ignore[arg-type]
        if form.is_valid():
            try:
                vm, _job = services.create(request.user, form.wanted())  # type: ignore[arg-type]
            except ValidationError as error:
                add_errors(form, error)
            except NotPossible as error:
                form.add_error(None, str(error))
            else:
                return redirect(vm)
    else:
        form = NewMachineForm(request.user, initial=_ready_to_send(request))  # type: ignore[arg-type]
    context = {"form": form, "templates": form.fields["template"].queryset.exists(), "quota_templates": QUOTA}  # type: ignore[attr-defined]
    return render(request, "selfservice/new.html", context, status=422 if form.errors else 200)


def _ready_to_send(request: HttpRequest) -> dict[str, object]:
    """The first template is chosen, or the one that `?template=` names, and a name that is free."""
    templates = NewMachineForm(request.user).fields["template"].queryset  # type: ignore[arg-type, attr-defined]
    try:
        chosen = templates.filter(pk=UUID(request.GET.get("template", ""))).first()
    except ValueError:
        chosen = None
    chosen = chosen or templates.first()
    return {"name": suggested_name(request), "template": chosen.pk if chosen else None, "size": ""}
