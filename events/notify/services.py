"""The verbs on one's own notifications."""

import uuid
from collections.abc import Mapping

from django.utils import timezone

from accounts.models import User
from events.log import record
from events.notify.models import DEFAULT_CHANNELS, Channel, Notification, NotificationChoice
from events.notify.send import NotSent, call_webhook, send_mail
from events.notify.topics import BY_KEY
from portal import outbound
from portal.errors import FieldError, NotPossible


def choice_of(user: User) -> NotificationChoice:
    """What the user chose, or an unsaved row of DEFAULT_CHANNELS."""
    return NotificationChoice.objects.filter(user=user).first() or NotificationChoice(user=user, channels=DEFAULT_CHANNELS)


def save_choice(user: User, channels: Mapping[str, list[str]], webhook_url: str) -> NotificationChoice:
    """Raises FieldError."""
    wanted = {topic: sorted(set(chosen)) for topic, chosen in channels.items() if chosen}
    if not set(wanted) <= set(BY_KEY) or any(not set(chosen) <= set(Channel.values) for chosen in wanted.values()):
        raise FieldError("channels", "There is no such notification.")
    webhook_url = webhook_url.strip()
    if webhook_url:
        try:
            outbound.check(webhook_url)
        except outbound.Forbidden as error:
            raise FieldError("webhook_url", str(error)) from None
    elif any(Channel.WEBHOOK in chosen for chosen in wanted.values()):
        raise FieldError("webhook_url", "Where should the webhook go?")
    choice = choice_of(user)
    if webhook_url and (webhook_url != choice.webhook_url or not choice.encrypted_webhook_secret):
        choice.make_webhook_secret()  # another receiver does not learn the secret of the one before
    choice.channels, choice.webhook_url = wanted, webhook_url
    choice.save()
    record("user.notifications_set", f"{user} chose what to be told", obj=user, user=user)
    return choice


def send_test(user: User, channel: str) -> None:
    """Sends a test at once. Raises NotPossible with what went wrong."""
    choice, number = choice_of(user), str(uuid.uuid4())
    try:
        if channel == Channel.MAIL:
            send_mail(user, "A test", "This is a test: mail from Vireo reaches you.\n", f"<{number}@vireo>")
        elif channel == Channel.WEBHOOK:
            call_webhook(choice, {"id": number, "kind": "test", "severity": "info", "message": "A test", "at": timezone.now().isoformat()})
        else:
            raise NotPossible("There is no such channel.")
    except NotSent as error:
        raise NotPossible(str(error)) from None


def mark_read(user: User, pk: object = None) -> int:
    """One of the user's own, or all; says how many were unread."""
    rows = Notification.objects.filter(user=user, read_at=None)
    return (rows.filter(pk=pk) if pk is not None else rows).update(read_at=timezone.now())
