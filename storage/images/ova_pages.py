"""The preview of an OVA."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse


def ova(request: HttpRequest, pk: UUID) -> HttpResponse:
    raise Http404("There is no such upload.")
