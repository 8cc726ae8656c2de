"""What beat runs for notifications. A worker that dies in between leaves rows that the next run finds."""

from celery import shared_task

from events.notify.fan_out import fan_out
from events.notify.send import send_due


@shared_task(name="events.notify")
def notify() -> None:
    fan_out()
    send_due()
