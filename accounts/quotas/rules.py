"""The one place that says whether something fits into a quota. Services call it inside the transaction that writes the rows.

`take` locks the quota's row first, so whoever counts next sees what the one before has taken: on PostgreSQL by the row's
lock, on SQLite because a transaction there takes the only write lock when it begins. Locks are taken in the order VM, quota,
job, by every caller.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.models import User
from accounts.quotas import words
from accounts.quotas.models import Quota, QuotaLimit, Resource
from accounts.quotas.usage import used_of
from events.log import record
from events.models import Severity
from hosts.models import DataCenter, QuotaMode
from portal.errors import FieldError, NotPossible


@dataclass(frozen=True)
class Claim:
    """So much of a resource; `place` is the id of the cluster, or for storage of the storage domain, where it is wanted."""

    resource: Resource
    amount: int
    place: UUID


@dataclass(frozen=True)
class Fit:
    """How a claim would stand to one limit."""

    limit: QuotaLimit
    used: int
    more: int

    @property
    def _grace(self) -> int:
        quota = self.limit.quota
        return quota.storage_grace if self.limit.resource == Resource.STORAGE else quota.compute_grace

    @property
    def _threshold(self) -> int:
        quota = self.limit.quota
        return quota.storage_threshold if self.limit.resource == Resource.STORAGE else quota.compute_threshold

    @property
    def after(self) -> int:
        return self.used + self.more

    @property
    def top(self) -> int:
        """The limit with its grace."""
        return self.limit.amount * (100 + self._grace) // 100

    @property
    def is_too_much(self) -> bool:
        return self.more > 0 and self.after > self.top

    def sentence(self, subject: str) -> str:
        return words.refusal(self.limit, self.used, self.more, self._grace, subject)

    def crossed(self) -> str:
        """A warning when this claim is the one that goes over the limit or, below it, over the threshold; else nothing."""
        limit, what = self.limit, words.counted(self.limit.resource, self.after)
        of = f"{words.amount(limit.resource, limit.amount)}{words.place(limit)}"
        if self.used <= limit.amount < self.after:
            return f"Quota {limit.quota} is over its limit: {what} of {of}"
        warn_at = limit.amount * self._threshold / 100
        if self.used <= warn_at < self.after <= limit.amount:
            return f"Quota {limit.quota} is over {self._threshold} %: {what} of {of}"
        return ""


def choose(user: User, data_center: DataCenter, wanted: Quota | None, field: str = "quota") -> Quota | None:
    """The quota that something new counts against: the one asked for, or the only one that the user holds.

    Raises FieldError: it is not theirs, or the data center is enforced and there is none, or several.
    """
    if wanted is not None:
        if wanted.data_center_id != data_center.pk or not Quota.objects.usable_by(user).filter(pk=wanted.pk).exists():
            raise FieldError(field, f"This is not a quota of {data_center} that you may use.")
        return wanted
    held = list(Quota.objects.filter(data_center=data_center).held_by(user)[:2])
    if len(held) == 1:
        return held[0]
    if mode_of(data_center.pk) == QuotaMode.ENFORCED:
        if held:
            raise FieldError(field, "You hold several quotas: choose one.")
        raise FieldError(field, f"Data center {data_center} enforces quotas, and you have none there. Ask its administrator for one.")
    return None


def mode_of(data_center_id: UUID) -> str:
    """As it is now, not as a row read earlier said."""
    return DataCenter.objects.values_list("quota_mode", flat=True).get(pk=data_center_id)


def fits(quota: Quota, claims: Iterable[Claim]) -> list[Fit]:
    """How the claims together would stand to each limit that they touch."""
    claims = list(claims)
    found = []
    for limit in quota.limits.select_related("cluster", "storage_domain"):
        limit.quota = quota
        place = limit.cluster_id or limit.storage_domain_id
        more = sum(claim.amount for claim in claims if claim.resource == limit.resource and place in (None, claim.place))
        if any(claim.resource == limit.resource and place in (None, claim.place) for claim in claims):
            found.append(Fit(limit, used_of(limit), more))
    return found


def ensure(quota: Quota | None, claims: Iterable[Claim], *, subject: str) -> None:
    """Refuses as `take` would, and takes nothing: for what a job takes later, so that who asks for it hears it at once."""
    if quota is None or mode_of(quota.data_center_id) != QuotaMode.ENFORCED:
        return
    for fit in fits(quota, claims):
        if fit.is_too_much:
            raise NotPossible(fit.sentence(subject))


def note_missing(user: User | None, quota: Quota | None, data_center_id: UUID, text: str, obj: Any) -> None:
    """Audit mode lets through what has no quota, and says so."""
    if quota is None and mode_of(data_center_id) == QuotaMode.AUDIT:
        record("quota.missing", text, severity=Severity.WARNING, user=user, obj=obj)


def take(
    user: User | None,
    quota: Quota | None,
    claims: Iterable[Claim],
    *,
    subject: str,
    fields: Mapping[str, str] | None = None,
    obj: Any = None,
) -> None:
    """Lets the claims through, or refuses. Call it in the transaction that writes what is claimed, before it is written.

    Args:
        subject: who needs it, in the refusal: "this VM".
        fields: resource -> field of the form that asked for it; with none a refusal is NotPossible.
        obj: what warnings name beside the quota.

    Raises:
        FieldError, NotPossible: the data center is enforced, and it is more than limit and grace allow.
    """
    if quota is None:
        return
    mode = mode_of(quota.data_center_id)
    if mode == QuotaMode.OFF:
        return
    locked = Quota.objects.select_for_update(no_key=True).filter(pk=quota.pk).first()
    if locked is None:
        raise _refused("quota", f"Quota {quota} is gone.", fields)
    for fit in fits(locked, claims):
        if fit.is_too_much and mode == QuotaMode.ENFORCED:
            raise _refused(fit.limit.resource, fit.sentence(subject), fields)
        warning = f"Allowed above its quota{f' for {obj}' if obj else ''}: {fit.sentence(subject)}" if fit.is_too_much else fit.crossed()
        if warning:
            kind = "quota.exceeded" if fit.is_too_much else "quota.threshold"
            record(kind, warning, obj=locked, severity=Severity.WARNING, user=user)


def _refused(resource: str, text: str, fields: Mapping[str, str] | None) -> Exception:
    return NotPossible(text) if fields is None else FieldError(fields.get(resource, "quota"), text)
