"""Passkeys (WebAuthn): the browser proves that it holds the key to a challenge which is good once."""

from django.http import HttpRequest
from django.utils import timezone
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from accounts.factors.models import Passkey
from accounts.models import User
from portal.errors import FieldError

CHALLENGE = "passkey_challenge"
MOST = 20
# What the library says of hostile input, which it parses before it judges.
_BAD = (WebAuthnException, ValueError, TypeError, KeyError, AttributeError)


def _host(request: HttpRequest) -> str:
    """The name that keys are bound to. ALLOWED_HOSTS has judged it."""
    return request.get_host().rsplit(":", 1)[0] if not request.get_host().endswith("]") else request.get_host()


def _origin(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"


def _descriptors(user: User) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(each.credential_id)) for each in user.passkeys.all()]


def _remember(request: HttpRequest, challenge: bytes) -> None:
    request.session[CHALLENGE] = bytes_to_base64url(challenge)


def _expected(request: HttpRequest) -> bytes:
    """The challenge, once: it is gone whether the answer is good or not."""
    return base64url_to_bytes(request.session.pop(CHALLENGE, ""))


def registration_options(request: HttpRequest, user: User) -> str:
    """What the browser makes a key from, as JSON."""
    options = generate_registration_options(
        rp_id=_host(request),
        rp_name="Vireo",
        user_id=user.pk.bytes,
        user_name=user.username,
        user_display_name=user.display_name,
        exclude_credentials=_descriptors(user),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
        ),
    )
    _remember(request, options.challenge)
    return options_to_json(options)


def register(request: HttpRequest, user: User, name: str, credential: str) -> Passkey:
    """Keeps the public half of the key that the browser made. Raises ValidationError."""
    challenge = _expected(request)
    if user.passkeys.count() >= MOST:
        raise FieldError("name", f"{MOST} passkeys are enough: remove one first.")
    try:
        if not challenge:
            raise ValueError("no challenge")
        found = verify_registration_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=_host(request), expected_origin=_origin(request)
        )
    except _BAD:
        raise FieldError("credential", "The browser's answer does not fit. Try again.") from None
    identity = bytes_to_base64url(found.credential_id)
    if len(identity) > 1400 or Passkey.objects.filter(credential_id=identity).exists():
        raise FieldError("credential", "This passkey is known already.")
    return Passkey.objects.create(
        user=user, name=name, credential_id=identity, public_key=found.credential_public_key, sign_count=found.sign_count
    )


def authentication_options(request: HttpRequest, user: User) -> str:
    """What the browser signs, as JSON."""
    options = generate_authentication_options(rp_id=_host(request), allow_credentials=_descriptors(user))
    _remember(request, options.challenge)
    return options_to_json(options)


def accept(request: HttpRequest, user: User, credential: str) -> bool:
    """The browser holds one of the user's keys, and has just signed the challenge with it."""
    challenge = _expected(request)
    try:
        answer = parse_authentication_credential_json(credential)
        passkey = user.passkeys.filter(credential_id=bytes_to_base64url(answer.raw_id)).first()
        if passkey is None or not challenge:
            return False
        found = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=_host(request),
            expected_origin=_origin(request),
            credential_public_key=bytes(passkey.public_key),
            credential_current_sign_count=passkey.sign_count,
        )
    except _BAD:
        return False
    # A count that did not grow, where one is kept, was refused above: the key would have a copy. Of two at once one wins here.
    known = Passkey.objects.filter(pk=passkey.pk, sign_count=passkey.sign_count)
    return bool(known.update(sign_count=found.new_sign_count, last_used_at=timezone.now()))
