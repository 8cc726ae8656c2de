"""Global search by name, for the palette: what this user may see, a few of each kind."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from accounts.objects import MODEL_OF, model_of

PER_KIND = 5
LONGEST = 100


@require_GET
def search(request: HttpRequest) -> JsonResponse:
    """`?q=` -> {"items": [{"title", "kind", "url", "hint"}]}"""
    text = request.GET.get("q", "").strip()[:LONGEST]
    items = []
    if text:
        for object_type in ("vm", "host", "template", "network", "storage_domain", "disk", "cluster", "data_center"):
            assert object_type in MODEL_OF
            rows = model_of(object_type)._default_manager.visible_to(request.user).filter(name__icontains=text)  # type: ignore[attr-defined]
            for row in rows[:PER_KIND]:
                hint = row.get_status_display().lower() if hasattr(row, "get_status_display") else ""
                items.append(
                    {
                        "title": row.name,
                        "kind": "VM" if object_type == "vm" else object_type.replace("_", " ").capitalize(),
                        "url": row.get_absolute_url(),
                        "hint": hint,
                    }
                )
    return JsonResponse({"items": items})
