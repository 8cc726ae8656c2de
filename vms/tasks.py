"""What Celery finds of this app."""

from celery import shared_task

from vms import expiry
from vms.consoles.thumbnails import refresh
from vms.guest import services as guest
from vms.pools import sweep as pools

__all__ = ["keep_pools", "refresh", "sweep_expired", "thaw"]


@shared_task(name="vms.expiry")
def sweep_expired() -> None:
    expiry.sweep()


@shared_task(name="vms.pools")
def keep_pools() -> None:
    pools.sweep()


@shared_task(name="vms.thaw")
def thaw() -> None:
    guest.thaw_due()
