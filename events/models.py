"""The event log."""

from django.db import models


class Severity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(models.Model):
    """Something that happened to an object. Rows are only ever added, and removed by age."""

    OBJECT_TYPE = "event"

    at = models.DateTimeField(auto_now_add=True)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.INFO)
    kind = models.CharField(max_length=64)
    message = models.TextField()
    object_type = models.CharField(max_length=20)
    object_id = models.UUIDField(null=True)
    object_name = models.CharField(max_length=255, blank=True, default="")
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="events")
    user_name = models.CharField(max_length=150, blank=True, default="")
    job = models.ForeignKey("jobs.Job", null=True, on_delete=models.SET_NULL, related_name="events")
    address = models.GenericIPAddressField(null=True)
    details = models.JSONField(default=dict)
    to_tell = models.BooleanField(default=False, editable=False)  # somebody may want to be told; see events.notify

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["object_type", "object_id", "-id"]),
            models.Index(fields=["at"]),
            models.Index(fields=["id"], condition=models.Q(to_tell=True), name="event_to_tell"),
        ]

    def __str__(self) -> str:
        return self.message


from events.notify.models import Delivery, Notification, NotificationChoice  # noqa: E402, F401  models of this app in a module of their own
