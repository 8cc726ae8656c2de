"""Who acts just now, and by which way: set by the middleware, by sockets and by the job engine, read by audit.log."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from audit.models import Channel


@dataclass(frozen=True)
class Circumstances:
    """Args: subject: has `user`, and `viewer` while somebody looks as another. It is asked late: a token signs in late."""

    channel: str = Channel.SYSTEM
    address: str = ""
    subject: Any = None
    job_id: str = ""

    @property
    def user(self) -> Any:
        """The signed-in user; None for nobody."""
        user = getattr(self.subject, "user", None)
        return user if user is not None and user.is_authenticated else None

    @property
    def viewer(self) -> Any:
        return getattr(self.subject, "viewer", None)


@dataclass(frozen=True)
class Subject:
    user: Any = None
    viewer: Any = None


_NOBODY = Circumstances()
_current: ContextVar[Circumstances] = ContextVar("audit_circumstances", default=_NOBODY)


def current() -> Circumstances:
    return _current.get()


@contextmanager
def acting(circumstances: Circumstances) -> Iterator[None]:
    """What is done inside is done so."""
    before = _current.get()
    _current.set(circumstances)
    try:
        yield
    finally:
        _current.set(before)


def of_request(request: HttpRequest) -> Circumstances:
    channel = Channel.API if request.path.startswith("/api/") else Channel.PAGE
    return Circumstances(channel, request.META.get("REMOTE_ADDR") or "", request)


def of_socket(scope: dict[str, Any]) -> Circumstances:
    address = (scope.get("client") or ("",))[0]
    return Circumstances(Channel.PAGE, address, Subject(scope.get("user"), scope.get("viewer")))


def of_job(job: Any) -> Circumstances:
    return Circumstances(Channel.JOB, "", Subject(job.user), str(job.pk))
