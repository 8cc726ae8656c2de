"""Which events a user may see: their own, and those of objects that they may see."""

from typing import Any

from django.db.models import Q, QuerySet

from accounts.objects import MODEL_OF, model_of
from accounts.permissions import allowed
from events.models import Event


def about_visible_objects(user: Any) -> Q:
    """A filter on (object_type, object_id) columns, for events and for jobs."""
    condition = Q()
    for object_type in MODEL_OF:
        visible = model_of(object_type)._default_manager.visible_to(user).values("pk")  # type: ignore[attr-defined]
        condition |= Q(object_type=object_type, object_id__in=visible)
    return condition


def visible_events(user: Any) -> QuerySet[Event]:
    if allowed(user, "system.view"):
        return Event.objects.all()
    return Event.objects.filter(Q(user=user) | about_visible_objects(user))
