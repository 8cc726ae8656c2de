"""What beat runs for hosts."""

from celery import shared_task

from hosts.power import fencing


@shared_task(name="hosts.fencing")
def fence() -> None:
    """Silent hosts are looked after."""
    fencing.sweep()
