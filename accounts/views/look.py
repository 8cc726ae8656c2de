"""Looking at the portal as another user, and ending it."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts import looking
from accounts.looking_middleware import as_oneself
from accounts.models import User
from accounts.permissions import require


@require_POST
def start(request: HttpRequest, pk: UUID) -> HttpResponse:
    require(request.user, "user.manage")
    target = get_object_or_404(User, pk=pk)
    try:
        looking.start(request.user, target, request)  # type: ignore[arg-type]
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("accounts:user", pk=pk)
    return redirect("portal:dashboard")


@as_oneself
@require_POST
def end(request: HttpRequest) -> HttpResponse:
    target = looking.end(request.user, request)  # type: ignore[arg-type]
    return redirect("accounts:user", pk=target.pk) if target else redirect("portal:dashboard")
