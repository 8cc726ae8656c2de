"""What Celery finds of this app."""

from celery import shared_task

from vms import expiry
from vms.consoles.thumbnails import refresh

__all__ = ["refresh", "sweep_expired"]


@shared_task(name="vms.expiry")
def sweep_expired() -> None:
    expiry.sweep()
