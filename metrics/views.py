"""History for charts, as JSON."""

from math import isnan, nan
from uuid import UUID

from django.http import Http404, HttpRequest, JsonResponse

from accounts.objects import model_of
from metrics import history

CHARTED = ("vm", "host")
LONGEST_HOURS = 24 * 366


def series(request: HttpRequest, object_type: str, pk: UUID) -> JsonResponse:
    """`?hours=1`; 404 for an object that the user may not see."""
    if object_type not in CHARTED or not model_of(object_type).objects.visible_to(request.user).filter(pk=pk).exists():  # type: ignore[attr-defined]
        raise Http404("There is no such object.")
    try:
        hours = float(request.GET.get("hours", "1"))
    except ValueError:
        hours = nan
    if isnan(hours):
        return JsonResponse({"error": "hours must be a number"}, status=422)
    return JsonResponse(history.series(object_type, pk, min(max(hours, 0.1), LONGEST_HOURS)))
