"""What beat runs for metrics."""

from celery import shared_task

from metrics import history


@shared_task(name="metrics.rollup")
def rollup() -> None:
    history.roll_up()
