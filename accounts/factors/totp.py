"""Codes of an authenticator app: each is taken once, and guessing is slowed down."""

from datetime import timedelta

import pyotp
import segno
from django.db.models import F, Q
from django.utils import timezone

from accounts.factors.models import Authenticator
from accounts.models import User

ISSUER = "Vireo"
STEP_SECONDS = 30
# Only who knows the password comes as far as guessing here, so this locks out nobody by their name alone.
FAILURES, WAIT = 10, timedelta(minutes=5)


def new_secret() -> str:
    return pyotp.random_base32()


def address(user: User, secret: str) -> str:
    """What the QR code says to the app."""
    return pyotp.TOTP(secret).provisioning_uri(name=user.username, issuer_name=ISSUER)


def picture(user: User, secret: str) -> str:
    """The QR code as a data URI: black on white, for cameras read nothing else well."""
    return segno.make(address(user, secret), error="m").svg_data_uri(scale=5, dark="#000", light="#fff", border=3)


def step_of(secret: str, code: str) -> int | None:
    """The time step whose code this is: now, the one before, or the next; None when it is none of these."""
    code = "".join(code.split())
    if len(code) != 6 or not code.isascii() or not code.isdigit():
        return None
    totp, now = pyotp.TOTP(secret), int(timezone.now().timestamp()) // STEP_SECONDS
    fitting = [step for step in (now - 1, now, now + 1) if pyotp.utils.strings_equal(totp.generate_otp(step), code)]
    return fitting[-1] if fitting else None


def must_wait(device: Authenticator) -> bool:
    return device.failures >= FAILURES and device.failed_at is not None and timezone.now() - device.failed_at < WAIT


def accept(device: Authenticator, code: str) -> bool:
    """Takes a code once: of two who send the same, one gets in."""
    now = timezone.now()
    step = step_of(device.secret, code)
    row = Authenticator.objects.filter(pk=device.pk)
    # The wait is part of the UPDATE, so that many guesses at once count as many.
    free = Q(failures__lt=FAILURES) | Q(failed_at__lt=now - WAIT)
    if step is not None and row.filter(free, last_step__lt=step).update(last_step=step, failures=0, failed_at=None):
        return True
    row.filter(failures__gte=FAILURES, failed_at__lt=now - WAIT).update(failures=0)
    row.update(failures=F("failures") + 1, failed_at=now)
    return False
