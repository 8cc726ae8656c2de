"""Sending mails and webhook calls, each at least once: what a dead sender claimed is tried again when its claim lapses."""

import hashlib
import hmac
import json
import logging
import smtplib
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.message import BadHeaderError
from django.db import DatabaseError
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from events.models import Event
from events.notify.fan_out import may_be_told
from events.notify.models import Channel, Delivery, DeliveryStatus, NotificationChoice
from portal import outbound

log = logging.getLogger(__name__)

CLAIM = timedelta(minutes=2)
WAITS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
WEBHOOK_SECONDS = 5.0
MOST_AT_ONCE = 50


class NotSent(Exception):
    """Why, for the user. `final`: trying again changes nothing."""

    def __init__(self, text: str, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def send_due() -> int:
    """Tries what is due, once; says how many were sent."""
    due = Delivery.objects.filter(status__in=(DeliveryStatus.QUEUED, DeliveryStatus.SENDING), due_at__lte=timezone.now())
    return sum(_claimed_and_sent(pk) for pk in due.values_list("pk", flat=True)[:MOST_AT_ONCE])


def _claimed_and_sent(pk: object) -> bool:
    now = timezone.now()
    free = Delivery.objects.filter(pk=pk, status__in=(DeliveryStatus.QUEUED, DeliveryStatus.SENDING), due_at__lte=now)
    if not free.update(status=DeliveryStatus.SENDING, due_at=now + CLAIM, tries=F("tries") + 1):
        return False  # another took it
    delivery = Delivery.objects.select_related("user", "event").get(pk=pk)
    try:
        _send(delivery)
    except NotSent as error:
        _later(delivery, error)
        return False
    except DatabaseError:
        raise  # its claim lapses, and it is tried again
    except Exception:
        log.exception("a %s to %s could not be sent", delivery.channel, delivery.user_id)
        _later(delivery, NotSent("It failed for a reason that the server's log tells."))
        return False
    Delivery.objects.filter(pk=pk).update(status=DeliveryStatus.SENT, error="")
    return True


def _later(delivery: Delivery, error: NotSent) -> None:
    log.warning("a %s to %s was not sent: %s", delivery.channel, delivery.user_id, error)
    if error.final or delivery.tries > len(WAITS):
        Delivery.objects.filter(pk=delivery.pk).update(status=DeliveryStatus.FAILED, error=str(error)[:500])
        return
    due_at = timezone.now() + WAITS[delivery.tries - 1]
    Delivery.objects.filter(pk=delivery.pk).update(status=DeliveryStatus.QUEUED, due_at=due_at, error=str(error)[:500])


def _send(delivery: Delivery) -> None:
    if not may_be_told(delivery.user, delivery.event):
        raise NotSent("They may no longer see it.", final=True)
    if delivery.channel == Channel.MAIL:
        send_mail(delivery.user, delivery.event.message, _lines_of(delivery.event), f"<{delivery.pk}@vireo>")
    else:
        choice = NotificationChoice.objects.get(user=delivery.user)
        call_webhook(choice, body_of(delivery.event, str(delivery.pk)))


def _lines_of(event: Event) -> str:
    about = f"{event.object_type.replace('_', ' ')} {event.object_name}" if event.object_name else "the system"
    return f"{event.message}\n\nAbout: {about}\nWhen: {event.at:%Y-%m-%d %H:%M:%S} UTC\nHow bad: {event.severity}\n"


def send_mail(user: User, subject: str, text: str, message_id: str) -> None:
    """Plain text. Raises NotSent."""
    if not settings.MAIL_IS_SET_UP:
        raise NotSent("Mail is not set up on this server: its administrator sets EMAIL_URL.", final=True)
    if not user.email:
        raise NotSent("There is no mail address in your account.", final=True)
    # A name in the subject is its owner's to choose: on one line it is only a subject.
    line = " ".join(subject.split())[:150]
    message = EmailMessage(f"[Vireo] {line}", text, settings.DEFAULT_FROM_EMAIL, [user.email], headers={"Message-ID": message_id})
    try:
        message.send()
    except BadHeaderError:
        raise NotSent("Your mail address is none that mail can be sent to.", final=True) from None
    except smtplib.SMTPRecipientsRefused as error:
        code = next(iter(error.recipients.values()))[0]
        # RFC 5321: 4yz is "not now", as greylisting says to every first try.
        raise NotSent(f"The mail server refuses your mail address ({code}).", final=code >= 500) from None
    except (smtplib.SMTPException, OSError) as error:
        raise NotSent(f"The mail server did not take it ({type(error).__name__}).") from None


def body_of(event: Event, delivery_id: str) -> dict[str, object]:
    """What a webhook is sent: no details, for they may hold more than the receiver should keep."""
    return {
        "id": delivery_id,
        "kind": event.kind,
        "severity": event.severity,
        "message": event.message,
        "object_type": event.object_type,
        "object_id": str(event.object_id) if event.object_id else None,
        "object_name": event.object_name,
        "at": event.at.isoformat(),
    }


def call_webhook(choice: NotificationChoice, body: dict[str, object]) -> None:
    """POSTs the body, signed: X-Vireo-Signature is `sha256=` and the hex HMAC of the body. Raises NotSent."""
    if not choice.webhook_url:
        raise NotSent("There is no webhook address in your settings.", final=True)
    data = json.dumps(body).encode()
    signature = hmac.new(choice.webhook_secret.encode(), data, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Vireo-Delivery": str(body["id"]), "X-Vireo-Signature": f"sha256={signature}"}
    try:
        answer = outbound.request("POST", choice.webhook_url, body=data, headers=headers, seconds=WEBHOOK_SECONDS)
    except outbound.Forbidden as error:
        raise NotSent(str(error), final=True) from None
    except outbound.OutboundError as error:
        raise NotSent(str(error)) from None
    if not 200 <= answer.status < 300:
        raise NotSent(f"The webhook answered with status {answer.status}.", final=answer.status == 410)
