"""What an enrolling host talks to: the script, the signing of its request, and its word that it is ready.

No session and no cookie here: the token in the Authorization header is the credential, so CSRF does not apply.
"""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from accounts.middleware import public
from hosts import enrolment as enrolments
from hosts.models import Enrolment
from jobs.errors import ObjectBusy
from portal.errors import FieldError, NotPossible

_GONE = "This enrolment is over: its command was used, replaced, or is older than an hour. Make a new one on the host's page.\n"


def _text(body: str, status: int = 200, kind: str = "text/plain") -> HttpResponse:
    return HttpResponse(body, status=status, content_type=f"{kind}; charset=utf-8")


def _token(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@public
@require_GET
@never_cache
def script(request: HttpRequest, enrolment_id: UUID) -> HttpResponse:
    enrolment = enrolments.current(enrolment_id)
    if enrolment is None:
        return _text(_GONE, 404)
    return _text(enrolments.script(enrolment), kind="text/x-shellscript")


@public
@csrf_exempt
@require_POST
@never_cache
def csr(request: HttpRequest, enrolment_id: UUID) -> HttpResponse:
    enrolment = enrolments.current(enrolment_id)
    if enrolment is None:
        return _text(_GONE, 404)
    if int(request.headers.get("Content-Length") or 0) > enrolments.CSR_BYTES:
        return _text("A certificate request is smaller than this.\n", 413)
    try:
        return _text(enrolments.certify(enrolment, _token(request), request.body.decode("ascii", "replace")), kind="application/x-pem-file")
    except enrolments.Refused:
        return _text(_GONE, 403)
    except FieldError as error:
        return _text(error.text + "\n", 422)


@public
@csrf_exempt
@require_POST
@never_cache
def ready(request: HttpRequest, enrolment_id: UUID) -> HttpResponse:
    enrolment: Enrolment | None = enrolments.current(enrolment_id)
    if enrolment is None:
        return _text(_GONE, 404)
    try:
        enrolments.complete(enrolment, _token(request))
    except enrolments.Refused:
        return _text(_GONE, 403)
    except (NotPossible, ObjectBusy) as error:
        return _text(f"{error}\n", 409)
    return _text("The host joins now.\n", 202)
