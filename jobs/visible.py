"""Which jobs a user may see: their own, and those of objects that they may see."""

from typing import Any

from django.db.models import Q, QuerySet

from accounts.permissions import allowed
from events.visible import about_visible_objects
from jobs.models import Job


def visible_jobs(user: Any) -> QuerySet[Job]:
    if allowed(user, "system.view"):
        return Job.objects.all()
    return Job.objects.filter(Q(user=user) | about_visible_objects(user))
