"""The button that ends restarts."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.pages.actions import REFUSALS, refuse
from vms.ha import services
from vms.pages import find


@require_POST
def leave_down(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = find(request, pk)
    try:
        services.leave_down(request.user, vm)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, vm.get_absolute_url(), error)
    messages.success(request, f"{vm.name} stays down until somebody runs it.")
    return redirect(vm)
