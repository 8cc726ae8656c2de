"""What Celery finds of this app."""

from celery import shared_task

from vms import expiry
from vms.balancing import rounds
from vms.consoles.thumbnails import refresh
from vms.guest import services as guest
from vms.ha import reserve, restarts
from vms.pools import sweep as pools
from vms.records import keeping

__all__ = ["balance", "keep_pools", "keep_records", "refresh", "run_again", "sweep_expired", "thaw", "watch_reserve"]


@shared_task(name="vms.expiry")
def sweep_expired() -> None:
    expiry.sweep()


@shared_task(name="vms.pools")
def keep_pools() -> None:
    pools.sweep()


@shared_task(name="vms.records")
def keep_records() -> None:
    keeping.sweep()


@shared_task(name="vms.ha")
def run_again() -> None:
    restarts.sweep()


@shared_task(name="vms.reserve")
def watch_reserve() -> None:
    reserve.watch()


@shared_task(name="vms.balance")
def balance() -> None:
    rounds.sweep()


@shared_task(name="vms.thaw")
def thaw() -> None:
    guest.thaw_due()
