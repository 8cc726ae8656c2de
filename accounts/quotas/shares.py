"""What is used of a quota and what is left, as pages show it."""

from dataclasses import dataclass

from accounts.models import User
from accounts.quotas import words
from accounts.quotas.models import Quota, QuotaLimit, Resource
from accounts.quotas.usage import used_of


@dataclass(frozen=True)
class Share:
    """One limit and what is used of it. `top` is the limit with its grace; amounts count in the resource's own unit."""

    limit: QuotaLimit
    used: int
    top: int
    warn_at: float

    @property
    def label(self) -> str:
        return f"{Resource(self.limit.resource).label}{words.place(self.limit)}"

    @property
    def place(self) -> str:
        """The id of the cluster or storage domain; empty for the whole data center."""
        return str(self.limit.cluster_id or self.limit.storage_domain_id or "")

    @property
    def used_text(self) -> str:
        return words.amount(self.limit.resource, self.used)

    @property
    def limit_text(self) -> str:
        return words.amount(self.limit.resource, self.limit.amount)

    @property
    def left(self) -> int:
        return max(0, self.limit.amount - self.used)

    @property
    def left_text(self) -> str:
        return words.amount(self.limit.resource, self.left)

    @property
    def is_high(self) -> bool:
        return self.used > self.warn_at or self.used >= self.limit.amount


def shares_of(quota: Quota) -> list[Share]:
    """A share for each limit, the data center's before those of places."""
    found = []
    for limit in quota.limits.select_related("cluster", "storage_domain", "quota").order_by("cluster__name", "storage_domain__name", "pk"):
        grace, threshold = (
            (quota.storage_grace, quota.storage_threshold)
            if limit.resource == Resource.STORAGE
            else (quota.compute_grace, quota.compute_threshold)
        )
        found.append(Share(limit, used_of(limit), limit.amount * (100 + grace) // 100, limit.amount * threshold / 100))
    return sorted(found, key=lambda share: share.limit.cluster_id is not None or share.limit.storage_domain_id is not None)


@dataclass(frozen=True)
class HeldQuota:
    """A quota that a user holds, and its shares. `clusters` are the ids of those where it counts."""

    quota: Quota
    shares: list[Share]
    enforced: bool
    clusters: str


def held_by(user: User) -> list[HeldQuota]:
    """What the user may take from, where quotas count at all."""
    quotas = Quota.objects.held_by(user).exclude(data_center__quota_mode="off").select_related("data_center").order_by("name")
    return [
        HeldQuota(
            quota,
            shares_of(quota),
            quota.data_center.quota_mode == "enforced",
            " ".join(str(cluster.pk) for cluster in quota.data_center.clusters.all()),
        )
        for quota in quotas.prefetch_related("data_center__clusters")
    ]
