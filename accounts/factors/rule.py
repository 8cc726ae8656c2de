"""Who must have a second factor and has none yet: led to set one up, and to nothing else."""

from django.db.models import Exists, OuterRef, Q

from accounts.factors.models import Authenticator, Passkey
from accounts.models import Group


def lacking(user_id: str = "user_id") -> Q:
    """A condition on rows that belong to a user, for use in an annotation."""
    owner = OuterRef(user_id)
    demanded = Exists(Group.members.through.objects.filter(user_id=owner, group__require_second_factor=True))
    return Q(demanded) & ~Q(Exists(Authenticator.objects.filter(user_id=owner))) & ~Q(Exists(Passkey.objects.filter(user_id=owner)))


def may_lack(view: object) -> object:
    """Marks a view that such a user reaches all the same."""
    view.is_for_enrolment = True  # type: ignore[attr-defined]
    return view
