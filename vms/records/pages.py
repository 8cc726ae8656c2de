"""Takes VMs in that a scan of a storage domain found in its records; the page that lists them is storage's."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.permissions import require
from hosts.models import Cluster
from portal.errors import FieldError
from portal.pages.actions import REFUSALS, refuse
from storage.models import StorageDomain
from storage.pages import find
from vms.records import taking


@require_POST
def take_in(request: HttpRequest, pk: UUID) -> HttpResponse:
    domain = find(request, StorageDomain, pk)
    require(request.user, "storage_domain.edit", domain)
    chosen = [int(key) for key in request.POST.getlist("vm") if key.isdecimal() and len(key) < 19]
    try:
        made = taking.take_in(request.user, domain, _cluster(request), chosen)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, reverse("storage:take-in", args=[pk]), error)
    messages.success(request, f"Taken in: {', '.join(vm.name for vm in made[:5])}{' and more' if len(made) > 5 else ''}.")
    return redirect(made[0] if len(made) == 1 else "vms:list")


def _cluster(request: HttpRequest) -> Cluster:
    """Raises FieldError."""
    try:
        return Cluster.objects.visible_to(request.user, "vm.create").get(pk=UUID(request.POST.get("cluster", "")))
    except (ValueError, Cluster.DoesNotExist):
        raise FieldError("cluster", "Choose a cluster in which you may create VMs.") from None
