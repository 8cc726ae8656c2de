"""What the job engine raises."""

from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.utils import timezone

from jobs.models import Job


class ObjectBusy(Exception):
    """Another job holds an object that this one needs (409)."""

    def __init__(self, name: str, holder: Job | None) -> None:
        self.holder = holder
        since = f" since {timezone.localtime(holder.created_at):%H:%M:%S}" if holder else ""
        super().__init__(f"{name} is busy: «{holder.title if holder else 'another job'}» runs{since}.")


class StepFailed(Exception):
    """A step cannot do its work; the text is for the person who asked, `detail` is the raw text behind it."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class NotNow(StepFailed):
    """Nothing is wrong but that a host has to come back first: an undo waits for it."""


class Later(Exception):
    """A step waits for other jobs: it gives its worker back and is run again, at once when woken (jobs.runner.wake).

    Args:
        why: what the tray shows meanwhile.
        seconds: run again after so long, woken or not.
        ready: asked once the job waits, for a wake that came just before.
    """

    def __init__(self, why: str, seconds: float = 10, ready: Callable[[], bool] = lambda: False) -> None:
        super().__init__(why)
        self.seconds = seconds
        self.ready = ready


class Cancelled(Exception):
    """Raised inside a step when somebody asked to cancel."""


class ClaimLost(Exception):
    """Another worker took the job over; whoever sees this must stop at once."""


class NotCancellable(ValidationError):
    """The job has ended, or its kind cannot be stopped half-way."""
