"""What beat runs for accounts."""

from celery import shared_task

from accounts.sessions.services import sweep


@shared_task(name="accounts.sessions")
def sessions() -> None:
    sweep()
