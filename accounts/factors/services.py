"""The verbs on second factors."""

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.factors import recovery, totp
from accounts.factors.models import Authenticator, Passkey, RecoveryCode
from accounts.models import Group, User
from accounts.permissions import require
from accounts.reach import grants_of_users, require_reach
from accounts.sessions.services import end_all
from events.log import record
from portal.errors import FieldError


def has_factor(user: User) -> bool:
    """Signing in takes more than the password."""
    return Authenticator.objects.filter(user=user).exists() or Passkey.objects.filter(user=user).exists()


def is_required(user: User) -> bool:
    return Group.objects.filter(members=user, require_second_factor=True).exists()


def enrol_authenticator(user: User, secret: str, code: str) -> list[str]:
    """Keeps the app once it has shown a right code; returns recovery codes when the user has none yet."""
    step = totp.step_of(secret, code)
    if step is None:
        raise FieldError("code", "This is not the code that the app shows now. Is the phone's clock right?")
    if Authenticator.objects.filter(user=user).exists():
        raise ValidationError("An authenticator app is set up already. Remove it first.")
    device = Authenticator(user=user, last_step=step)
    device.secret = secret
    device.save()
    record("second_factor.added", f"{user} set up an authenticator app", obj=user, user=user)
    return first_recovery_codes(user)


def first_recovery_codes(user: User) -> list[str]:
    """Codes for who has just got their first factor; none for who has codes already."""
    return [] if RecoveryCode.objects.filter(user=user).exists() else recovery.make(user)


def new_recovery_codes(user: User) -> list[str]:
    if not has_factor(user):
        raise ValidationError("Set up an app or a passkey first.")
    record("second_factor.recovery_codes", f"{user} made new recovery codes", obj=user, user=user)
    return recovery.make(user)


def remove_authenticator(user: User) -> None:
    with transaction.atomic():
        if not Authenticator.objects.filter(user=user).delete()[0]:
            return
        _after_removal(user)
    record("second_factor.removed", f"{user} removed their authenticator app", obj=user, severity="warning", user=user)


def remove_passkey(user: User, passkey: Passkey) -> None:
    name = passkey.name
    with transaction.atomic():
        passkey.delete()
        _after_removal(user)
    record("second_factor.removed", f"{user} removed the passkey {name}", obj=user, severity="warning", user=user)


def _after_removal(user: User) -> None:
    """The last factor takes the recovery codes along; who must have one keeps it."""
    if has_factor(user):
        return
    if is_required(user):
        raise ValidationError("A group of yours demands a second factor: set up another one before you remove this.")
    RecoveryCode.objects.filter(user=user).delete()


def accept_code(user: User, code: str) -> bool:
    """A code of the app or a recovery code, whichever it is."""
    device = Authenticator.objects.filter(user=user).first()
    if recovery.accept(user, code):
        left = user.recovery_codes.count()
        record("second_factor.recovery_code_used", f"{user} used a recovery code; {left} are left", obj=user, severity="warning", user=user)
        return True
    return device is not None and totp.accept(device, code)


def reset(actor: User, user: User) -> None:
    """Takes all second factors of somebody who has lost them, and ends their sessions."""
    require(actor, "user.manage")
    if actor.pk != user.pk:
        require_reach(actor, grants_of_users(User.objects.filter(pk=user.pk)), f"reset the second factor of {user}")
    with transaction.atomic():
        for model in (Authenticator, Passkey, RecoveryCode):
            model.objects.filter(user=user).delete()
        record("second_factor.reset", f"The second factors of {user} were reset", obj=user, severity="warning", user=actor)
    end_all(actor, user)
