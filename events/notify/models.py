"""What users chose, what they were told, and what is on its way."""

import secrets
import uuid

from django.db import models

from portal.secrets import decrypt, encrypt


class Channel(models.TextChoices):
    PAGE = "page", "Page"
    MAIL = "mail", "Mail"
    WEBHOOK = "webhook", "Webhook"


# Until a user chooses: failed jobs, the end of machines and what concerns the account, on the page.
DEFAULT_CHANNELS = {"job": [Channel.PAGE.value], "expiry": [Channel.PAGE.value], "account": [Channel.PAGE.value]}


class NotificationChoice(models.Model):
    """What a user wants to be told, and where. `channels`: topic key -> channels; see events.notify.topics."""

    user = models.OneToOneField("accounts.User", on_delete=models.CASCADE, related_name="notification_choice")
    channels = models.JSONField(default=dict)
    webhook_url = models.CharField(max_length=2000, blank=True, default="")
    encrypted_webhook_secret = models.TextField(blank=True, default="", editable=False)

    def __str__(self) -> str:
        return f"what {self.user} is told"

    @property
    def webhook_secret(self) -> str:
        """Signs what is sent, so that the receiver knows that it is ours. Made once."""
        return decrypt(self.encrypted_webhook_secret)

    def make_webhook_secret(self) -> None:
        self.encrypted_webhook_secret = encrypt(secrets.token_urlsafe(32))


class Notification(models.Model):
    """An event on a user's own page."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="notifications")
    event = models.ForeignKey("events.Event", on_delete=models.CASCADE, related_name="+")
    read_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-event_id"]
        constraints = [models.UniqueConstraint(fields=["user", "event"], name="notification_once")]
        indexes = [models.Index(fields=["user"], condition=models.Q(read_at=None), name="notification_unread")]

    def __str__(self) -> str:
        return f"{self.event} for {self.user}"


class DeliveryStatus(models.TextChoices):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class Delivery(models.Model):
    """A mail or a webhook call for one event. `due_at`: when it is tried next, or when a dead sender's claim lapses."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey("events.Event", on_delete=models.CASCADE, related_name="+")
    channel = models.CharField(max_length=8, choices=Channel)
    status = models.CharField(max_length=8, choices=DeliveryStatus, default=DeliveryStatus.QUEUED)
    tries = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(auto_now_add=True)
    error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["due_at"]
        constraints = [models.UniqueConstraint(fields=["user", "event", "channel"], name="delivery_once")]
        indexes = [models.Index(fields=["due_at"], condition=models.Q(status__in=("queued", "sending")), name="delivery_waiting")]

    def __str__(self) -> str:
        return f"{self.channel} to {self.user}: {self.status}"
