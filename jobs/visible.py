"""Which jobs a user may see: their own, and those of objects that they may see."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.audience import holders, seers
from accounts.models import User
from accounts.objects import MODEL_OF
from accounts.permissions import allowed
from events.visible import about_visible_objects
from jobs.models import Job


def visible_jobs(user: Any) -> QuerySet[Job]:
    if allowed(user, "system.view"):
        return Job.objects.all()
    return Job.objects.filter(Q(user=user) | about_visible_objects(user))


def seers_of_job(job_id: str, among: Collection[User]) -> set[UUID]:
    """The ids of those users to whom the job is visible: the same rule, for many users at once."""
    job = Job.objects.filter(pk=job_id).only("user_id", "object_type", "object_id").first()
    if job is None:
        return set()
    about = seers(job.object_type, str(job.object_id), among) if job.object_type in MODEL_OF else set()
    own = {user.pk for user in among if user.is_authenticated and user.pk == job.user_id}
    return about | own | holders("system.view", None, among)
