"""The verbs on quotas. Who manages the data center's quotas calls them."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import Group, User
from accounts.permissions import require
from accounts.quotas.models import LARGEST_AMOUNT, Quota, QuotaHolder, QuotaLimit, Resource
from audit import log as audit
from events.log import record
from hosts.models import DataCenter, QuotaMode
from portal.errors import FieldError, NotPossible
from portal.names import valid_name, valid_text

# A resource, and the cluster or storage domain that it is limited in; None: the whole data center.
LimitKey = tuple[Resource, UUID | None]
_FIELDS = ("name", "description", "compute_threshold", "compute_grace", "storage_threshold", "storage_grace")


def save(actor: User, quota: Quota, limits: Mapping[LimitKey, int]) -> Quota:
    """Creates or changes a quota; its limits are then exactly these. Raises FieldError, ValidationError."""
    require(actor, "quota.manage", quota.data_center)
    created = quota._state.adding
    quota.name, quota.description = valid_name(quota.name), valid_text(quota.description)
    quota.clean_fields()
    rows = [_limit(quota, resource, place, amount) for (resource, place), amount in limits.items()]
    try:
        with transaction.atomic():
            before = {} if created else audit.stored(quota, *_FIELDS) | {"limits": _texts(quota.limits.all())}
            quota.save()
            quota.limits.all().delete()
            QuotaLimit.objects.bulk_create(rows)
            verb, texts = "created" if created else "changed", _texts(rows)
            change = audit.changes(before, audit.snapshot(quota, *_FIELDS) | {"limits": texts})
            record(f"quota.{verb}", f"Quota {quota} was {verb}", obj=quota, user=actor, details={"limits": texts}, change=change)
    except IntegrityError:
        raise FieldError("name", f"Data center {quota.data_center} has a quota named {quota.name} already.") from None
    return quota


def _texts(limits: Iterable[QuotaLimit]) -> list[str]:
    return sorted(str(limit) for limit in limits)


def _limit(quota: Quota, resource: Resource, place: UUID | None, amount: int) -> QuotaLimit:
    """Raises FieldError for an impossible amount, and for a place in another data center."""
    if not 0 <= amount <= LARGEST_AMOUNT:
        raise FieldError(resource, "This is not an amount.")
    limit = QuotaLimit(quota=quota, resource=resource, amount=amount)
    if place is None:
        return limit
    places = quota.data_center.storage_domains if resource == Resource.STORAGE else quota.data_center.clusters
    if not places.filter(pk=place).exists():
        raise FieldError(resource, f"This is no place in data center {quota.data_center}.")
    if resource == Resource.STORAGE:
        limit.storage_domain_id = place
    else:
        limit.cluster_id = place
    return limit


def remove(actor: User, quota: Quota) -> None:
    """Raises NotPossible while VMs or disks count against it."""
    require(actor, "quota.manage", quota)
    try:
        with transaction.atomic():
            record("quota.removed", f"Quota {quota} was removed", obj=quota, user=actor)
            quota.delete()
    except ProtectedError:
        raise NotPossible(
            f"{quota.vms.count()} VMs and {quota.disks.count()} disks count against {quota}: give them another first."
        ) from None


def add_holder(actor: User, quota: Quota, *, user: User | None = None, group: Group | None = None) -> QuotaHolder:
    """Who may take from it from now on; adding somebody twice is adding them once."""
    require(actor, "quota.manage", quota)
    if (user is None) == (group is None):
        raise ValidationError("Name one user or one group.")
    with transaction.atomic():
        holder, created = QuotaHolder.objects.get_or_create(quota=quota, user=user, group=group)
        if created:
            record("quota.holder_added", f"{holder} may use quota {quota}", obj=quota, user=actor)
    return holder


def remove_holder(actor: User, holder: QuotaHolder) -> None:
    """What they made of it stays, and counts as before."""
    require(actor, "quota.manage", holder.quota)
    with transaction.atomic():
        record("quota.holder_removed", f"{holder} may no longer use quota {holder.quota}", obj=holder.quota, user=actor)
        holder.delete()


def set_mode(actor: User, data_center: DataCenter, mode: str) -> None:
    """off: quotas count and refuse nothing. audit: what is too much is let through, with an event. enforced: it is refused."""
    require(actor, "quota.manage", data_center)
    if mode not in QuotaMode.values:
        raise FieldError("quota_mode", "There is no such mode.")
    with transaction.atomic():
        change = audit.changes(audit.stored(data_center, "quota_mode"), {"quota_mode": mode})
        DataCenter.objects.filter(pk=data_center.pk).update(quota_mode=mode)
        record("quota.mode_set", f"Quotas of data center {data_center}: {mode}", obj=data_center, user=actor, change=change)
