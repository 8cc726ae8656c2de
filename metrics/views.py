"""History for charts, as JSON."""

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
        hours = min(max(float(request.GET.get("hours", "1")), 0.1), LONGEST_HOURS)
    except ValueError:
        return JsonResponse({"error": "hours must be a number"}, status=422)
    return JsonResponse(history.series(object_type, pk, hours))
