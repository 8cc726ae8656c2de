"""One row for each browser that is signed in."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.sessions.device import device_of


class UserSession(models.Model):
    """A signed-in browser. The row and Django's session live and die together."""

    OBJECT_TYPE = "session"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="sessions")
    session_key = models.CharField(max_length=40, unique=True, editable=False)
    user_agent = models.CharField(max_length=300, blank=True, default="")
    address = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["-last_seen_at"]

    def __str__(self) -> str:
        return f"{self.device} of {self.user}"

    @property
    def device(self) -> str:
        return device_of(self.user_agent)

    def is_over(self, now: datetime | None = None) -> bool:
        """Too long unused, or too long altogether."""
        now = now or timezone.now()
        idle, whole = timedelta(seconds=settings.SESSION_IDLE_SECONDS), timedelta(seconds=settings.SESSION_COOKIE_AGE)
        return now - self.last_seen_at > idle or now - self.created_at > whole
