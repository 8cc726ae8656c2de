"""Which events are audited, and under what name: all that a person or a job did, not what was merely observed."""

from typing import Any

from audit import circumstances, log
from audit.models import Outcome

# Said better by the entry of the job that was asked for with it.
_TOLD_ELSEWHERE = frozenset({"vm.create_asked"})
# Nobody is signed in, or Vireo does it by itself, or whoever has its command line.
_WITHOUT_USER = ("session.", "user.", "group.", "role.", "grant.", "token.", "vm.expired")
# Stays in the event log, which forgets: people type passwords where the name belongs.
_NOT_FOR_EVER = frozenset({"username"})


def from_event(
    kind: str, message: str, *, obj: Any, user: Any, job: Any, severity: str, details: dict[str, Any], change: log.Change | None
) -> None:
    """Called for each event, by events.log.record alone."""
    if kind in _TOLD_ELSEWHERE or not (user or job or circumstances.current().user or kind.startswith(_WITHOUT_USER)):
        return
    target = None
    if obj is None and job is not None:
        target = (job.object_type, job.object_id, job.object_name)
        user = user or job.user
    log.append(
        _action(kind, job),
        message,
        obj=obj,
        target=target,
        user=user,
        outcome=_outcome(kind, severity),
        change=change,
        details={name: value for name, value in details.items() if name not in _NOT_FOR_EVER},
        job_id=job.pk if job is not None else "",
    )


def _action(kind: str, job: Any) -> str:
    """The end of a job is called by what the job was for: "vm.start.succeeded"."""
    subject, _, what = kind.partition(".")
    return f"{job.kind}.{what}" if subject == "job" and job is not None else kind


def _outcome(kind: str, severity: str) -> str:
    if kind.endswith(".refused"):
        return Outcome.REFUSED
    return Outcome.FAILED if severity == "error" else Outcome.DONE
