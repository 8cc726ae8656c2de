"""What Celery delivers: the id of a job, and the order to sweep."""

from uuid import UUID

from celery import shared_task

from jobs import engine, runner


@shared_task(name="jobs.run")
def run_job(job_id: str) -> None:
    runner.run(UUID(job_id))


@shared_task(name="jobs.sweep")
def sweep() -> None:
    engine.sweep()
