"""Jobs and events."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Query, Router

from api.lookup import Paging, filtered, page_of
from api.schemas import EventOut, JobDetail, JobOut, Page, Problem
from events.visible import visible_events
from jobs import engine
from jobs.models import Job
from jobs.visible import visible_jobs

router = Router()


@router.get("/jobs", response=Page[JobOut], tags=["Jobs"], summary="List jobs")
def list_jobs(
    request: HttpRequest, paging: Query[Paging], status: str | None = None, kind: str | None = None, object_id: UUID | None = None
) -> Any:
    rows = filtered(visible_jobs(request.user), {"status": status, "kind": kind})
    return page_of(rows.filter(object_id=object_id) if object_id else rows, paging)


def _job(request: HttpRequest, pk: UUID) -> Job:
    found = visible_jobs(request.user).prefetch_related("steps").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such job, or you may not see it.")
    return found


@router.get("/jobs/{uuid:pk}", response={200: JobDetail, 404: Problem}, tags=["Jobs"], summary="Get a job with its steps")
def get_job(request: HttpRequest, pk: UUID) -> Any:
    job = _job(request, pk)
    return {**{name: getattr(job, name) for name in JobOut.model_fields}, "steps": list(job.steps.all())}


@router.post("/jobs/{uuid:pk}/cancel", response={202: JobOut, 409: Problem}, tags=["Jobs"], summary="Cancel a job")
def cancel_job(request: HttpRequest, pk: UUID) -> Any:
    job = _job(request, pk)
    engine.cancel(request.user, job)
    job.refresh_from_db()
    return 202, job


@router.get("/events", response=Page[EventOut], tags=["Events"], summary="List events, newest first")
def list_events(
    request: HttpRequest, paging: Query[Paging], object_id: UUID | None = None, severity: str | None = None, kind: str | None = None
) -> Any:
    rows = filtered(visible_events(request.user), {"severity": severity, "kind": kind})
    return page_of(rows.filter(object_id=object_id) if object_id else rows, paging)
