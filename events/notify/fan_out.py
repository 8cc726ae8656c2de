"""From an event to those who chose to be told, if they may see it."""

import logging

from django.db import OperationalError, transaction

from accounts.models import User
from events.models import Event
from events.notify.models import DEFAULT_CHANNELS, Channel, Delivery, Notification, NotificationChoice
from events.notify.topics import topics_of
from events.visible import visible_events
from portal.live import publish_to

log = logging.getLogger(__name__)

BATCH = 100


def fan_out() -> int:
    """Handles the events that wait; says how many. Two at once share them: rows that one holds are passed over by the other."""
    count = 0
    while done := _batch():
        count += done
    return count


def _batch() -> int:
    with transaction.atomic():
        waiting = list(Event.objects.select_for_update(skip_locked=True, of=("self",)).filter(to_tell=True).order_by("pk")[:BATCH])
        choices = _choices() if any(topics_of(event) for event in waiting) else []
        for event in waiting:
            _tell_or_log(event, choices)
        Event.objects.filter(pk__in=[event.pk for event in waiting]).update(to_tell=False)
    return len(waiting)


def _choices() -> list[NotificationChoice]:
    """What each active person wants, chosen or by default."""
    chosen = list(NotificationChoice.objects.filter(user__is_active=True).select_related("user"))
    others = User.objects.filter(is_active=True, is_service=False, notification_choice=None)
    return chosen + [NotificationChoice(user=user, channels=DEFAULT_CHANNELS) for user in others]


def _tell_or_log(event: Event, choices: list[NotificationChoice]) -> None:
    """One event that cannot be told does not hold up those behind it for ever."""
    try:
        with transaction.atomic():
            _tell(event, choices)
    except OperationalError:
        raise  # the database is away or busy: the whole batch comes again
    except Exception:
        log.exception("nobody could be told of event %s", event.pk)


def _tell(event: Event, choices: list[NotificationChoice]) -> None:
    topics = topics_of(event)
    for choice in choices:
        channels = {channel for topic in topics if topic.concerns(event, choice.user) for channel in choice.channels.get(topic.key, ())}
        if channels and may_be_told(choice.user, event):
            _write(choice.user, event, channels)


def may_be_told(user: User, event: Event) -> bool:
    """Asked when it is written down and again when it is sent: a grant may have been withdrawn meanwhile."""
    own_account = event.object_type == "user" and event.object_id == user.pk
    return user.is_active and (own_account or visible_events(user).filter(pk=event.pk).exists())


def _write(user: User, event: Event, channels: set[str]) -> None:
    if Channel.PAGE in channels:
        Notification.objects.get_or_create(user=user, event=event)
        publish_to(f"user:{user.pk}", {"type": "live.notice", "text": event.message[:200], "severity": event.severity})
    for channel in channels & {Channel.MAIL, Channel.WEBHOOK}:
        Delivery.objects.get_or_create(user=user, event=event, channel=channel)
