"""Enrolment: a one-time token with which a plain machine gets a certificate of our CA and becomes a host.

The id of the enrolment is in URLs and gives nothing but the script. The token is the secret: it travels in a header,
only its digest is stored, it works once and for an hour. The private key never leaves the host.
"""

import hashlib
import secrets
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from events.log import record
from hosts.connect import authority
from hosts.models import Enrolment, Host, HostStatus
from portal.errors import FieldError, NotPossible
from portal.live import publish

LIFETIME = timedelta(hours=1)
SCRIPT = Path(__file__).parent / "enrol" / "script.sh"
CSR_BYTES = 16 * 1024


@dataclass(frozen=True)
class Command:
    """What the administrator pastes on the host. Not stored anywhere."""

    text: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Command(expires_at={self.expires_at})"


class Refused(Exception):
    """The token does not open this enrolment: wrong, used, or too old."""


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def issue(user: User, host: Host, base_url: str) -> Command:
    """Makes a new token for the host; those made before no longer work.

    Args:
        base_url: scheme, name and port at which the host reaches this portal.
    """
    token = secrets.token_urlsafe(32)
    expires_at = timezone.now() + LIFETIME
    with transaction.atomic():
        host.enrolments.filter(completed_at=None).delete()
        enrolment = Enrolment.objects.create(
            host=host, digest=digest_of(token), base_url=base_url.rstrip("/"), created_by=user, expires_at=expires_at
        )
    url = _url(enrolment)
    # The digest pins the script, and the script carries our CA's certificate: over plain HTTP, too, nobody
    # on the way can change what root runs.
    pinned = hashlib.sha256(script(enrolment).encode()).hexdigest()
    script_url = shlex.quote(url + "/script.sh")
    text = (
        # An installed Debian has wget alone, an EL machine curl alone; the script installs what else it needs.
        f'(f=$(mktemp) && trap \'rm -f "$f"\' EXIT && if command -v curl >/dev/null; then curl -fsS {script_url} -o "$f"; '
        f'else wget -q {script_url} -O "$f"; fi '
        f'&& echo "{pinned}  $f" | sha256sum -c --quiet - && VIREO_TOKEN={shlex.quote(token)} bash "$f")'
    )
    return Command(text, expires_at)


def _url(enrolment: Enrolment) -> str:
    return f"{enrolment.base_url}/enrol/{enrolment.pk}"


def script(enrolment: Enrolment) -> str:
    """The script for one host: the values that it needs, before what is the same for all."""
    host = enrolment.host
    values = {
        "PORTAL_URL": _url(enrolment),
        "HOST_ADDRESS": host.address,
        "TLS_PORT": str(host.port or 16514),
        "CA_CERTIFICATE": authority().ca_pem.decode(),
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    first, rest = SCRIPT.read_text().split("\n", 1)
    return f"{first}\n{head}{rest}"


def current(enrolment_id: object) -> Enrolment | None:
    """The enrolment, as long as its time has not run out and its host has not joined."""
    return (
        Enrolment.objects.select_related("host__cluster", "created_by")
        .filter(pk=enrolment_id, expires_at__gt=timezone.now(), completed_at=None)
        .first()
    )


def certify(enrolment: Enrolment, token: str, csr_pem: str) -> str:
    """Signs the host's request, once. What the certificate says is what the administrator approved, not what the request says.

    Returns:
        The certificate, PEM.

    Raises:
        Refused: wrong or used token.
        FieldError: the request is not one, or its key is none that libvirt takes; the token stays good.
    """
    host = enrolment.host
    if not secrets.compare_digest(enrolment.digest, digest_of(token)):
        raise Refused
    try:
        certificate = authority().sign_csr(csr_pem.encode(), host.address, [host.address])
    except ValueError as error:
        raise FieldError("csr", f"This is no certificate request that we can sign: {error}") from None
    with transaction.atomic():
        used = Enrolment.objects.filter(pk=enrolment.pk, used_at=None, expires_at__gt=timezone.now()).update(used_at=timezone.now())
        if not used:
            raise Refused
        record("host.certified", f"{host.name} fetched its certificate", obj=host, user=enrolment.created_by)
    return certificate.decode()


def complete(enrolment: Enrolment, token: str) -> None:
    """The host says that libvirtd listens: the job that adds it starts, in the name of who made the command.

    Raises:
        Refused: wrong token, no certificate fetched, or said before.
        NotPossible: the host is busy.
    """
    from hosts.services import submit_add  # services issue enrolments; this is the way back

    host = enrolment.host
    if not secrets.compare_digest(enrolment.digest, digest_of(token)):
        raise Refused
    with transaction.atomic():
        ready = Enrolment.objects.filter(pk=enrolment.pk, completed_at=None).exclude(used_at=None).update(completed_at=timezone.now())
        if not ready:
            raise Refused
        if host.status in (HostStatus.UP, HostStatus.PREPARING_FOR_MAINTENANCE):
            raise NotPossible(f"{host.name} is {host.get_status_display().lower()} already.")
        Host.objects.filter(pk=host.pk).update(status_reason="", rev=F("rev") + 1)
        publish("host", host.pk, "changed", host.rev + 1, {"status": host.status})
        submit_add(enrolment.created_by, host)
