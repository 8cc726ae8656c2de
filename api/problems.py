"""Errors as problem+json (RFC 9457): what happened, and the field at fault."""

import logging
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, RequestDataTooBig, SuspiciousOperation, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as RequestError

from jobs.errors import ObjectBusy
from portal.errors import NotPossible

log = logging.getLogger(__name__)


def problem(status: int, title: str, detail: str = "", **extra: Any) -> HttpResponse:
    """Extra members stand beside the standard ones, e.g. errors=[{"field": …, "message": …}]."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail} | extra
    response = JsonResponse(body, status=status, content_type="application/problem+json")
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _fields(error: ValidationError) -> list[dict[str, str]]:
    """Django's errors, flat; an error of no field names none."""
    if hasattr(error, "error_dict"):
        return [
            {"field": "" if field == NON_FIELD_ERRORS else field, "message": message}
            for field, messages in error.message_dict.items()
            for message in messages
        ]
    return [{"field": "", "message": message} for message in error.messages]


def _request_fields(error: RequestError) -> list[dict[str, str]]:
    """Pydantic's errors, flat: the last named part of the location is the field."""
    found = []
    for entry in error.errors:
        names = [str(part) for part in entry["loc"] if part not in ("body", "query", "path", "data", "payload")]
        found.append({"field": ".".join(names), "message": entry["msg"]})
    return found


def _tell(request: HttpRequest, error: Exception) -> None:
    """The audit log's middleware says why a request was refused."""
    request.refusal = error  # type: ignore[attr-defined]


def install(api: NinjaAPI) -> None:
    """Every exception that services raise by contract, and a plain 500 without a traceback for the rest."""

    @api.exception_handler(AuthenticationError)
    def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        return problem(401, "Not signed in", "Send «Authorization: Bearer TOKEN», with a token from your account page.")

    @api.exception_handler(PermissionDenied)
    def denied(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
        _tell(request, error)
        return problem(403, "Not permitted", str(error))

    @api.exception_handler(Http404)
    def missing(request: HttpRequest, error: Http404) -> HttpResponse:
        return problem(404, "Not found", str(error) or "There is no such object, or you may not see it.")

    @api.exception_handler(RequestError)
    def malformed(request: HttpRequest, error: RequestError) -> HttpResponse:
        return problem(422, "Invalid input", "See errors.", errors=_request_fields(error))

    @api.exception_handler(ValidationError)
    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        _tell(request, error)
        return problem(422, "Invalid input", " ".join(error.messages), errors=_fields(error))

    @api.exception_handler(NotPossible)
    def impossible(request: HttpRequest, error: NotPossible) -> HttpResponse:
        _tell(request, error)
        return problem(409, "Not possible now", str(error))

    @api.exception_handler(ObjectBusy)
    def busy(request: HttpRequest, error: ObjectBusy) -> HttpResponse:
        _tell(request, error)
        return problem(409, "Busy", str(error), job=str(error.holder.pk) if error.holder is not None else None)

    @api.exception_handler(HttpError)
    def other(request: HttpRequest, error: HttpError) -> HttpResponse:
        return problem(error.status_code, "Bad request", str(error))

    @api.exception_handler(RequestDataTooBig)
    def too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
        return problem(413, "Too large", "A body has at most 2 MiB.")

    @api.exception_handler(SuspiciousOperation)
    def suspicious(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
        return problem(400, "Bad request", "This is no request that Vireo answers.")

    @api.exception_handler(Exception)
    def failed(request: HttpRequest, error: Exception) -> HttpResponse:
        log.exception("the API failed on %s %s", request.method, request.path)
        return problem(500, "Internal error", "Something went wrong in Vireo; its log has the details.")
