"""The SSH keys of the account page."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.keys import services
from accounts.models import UserKey


@require_POST
def new_key(request: HttpRequest) -> HttpResponse:
    try:
        key = services.add(request.user, request.POST.get("public_key", ""), request.POST.get("key_name", ""))  # type: ignore[arg-type]
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"The key {key.name} is kept.")
    return redirect("accounts:me")


@require_POST
def delete_key(request: HttpRequest, pk: UUID) -> HttpResponse:
    key = get_object_or_404(UserKey, pk=pk, user=request.user)
    services.remove(request.user, key)  # type: ignore[arg-type]
    messages.success(request, f"The key {key.name} was removed. Machines that have it keep it.")
    return redirect("accounts:me")
