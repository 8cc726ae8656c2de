"""How long a machine is lent: the dates, without any verb."""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from accounts.permissions import is_administrator


def expiry_of_new(user: User, now: datetime | None = None) -> datetime | None:
    """When a VM ends that this user makes now; None: never. Administrators make VMs without an end."""
    if not settings.PORTAL_VM_DAYS or is_administrator(user):
        return None
    return (now or timezone.now()) + timedelta(days=settings.PORTAL_VM_DAYS)


def notice_from(expires_at: datetime) -> datetime:
    """From then on its users are told that it ends."""
    return expires_at - timedelta(days=settings.EXPIRY_NOTICE_DAYS)


def removal_at(expires_at: datetime) -> datetime:
    """When a machine that ended is removed."""
    return expires_at + timedelta(days=settings.EXPIRY_GRACE_DAYS)
