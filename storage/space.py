"""The space of a storage domain: how much is promised, when it is low, and whether one more disk may be promised. Pure but for `take`."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import QuerySet, Sum

from portal.errors import FieldError
from portal.templatetags.vireo import size
from storage.models import Disk, SpaceLevel, StorageDomain, StorageDomainHost

# More than any storage has; Ceph without a manager says 16 EiB, for it does not know.
MOST = 1 << 60


@dataclass(frozen=True)
class Space:
    """A domain's space, or that of one host's part of a local domain, in bytes.

    Args:
        promised: what its disks may grow to.
    """

    capacity: int
    available: int
    promised: int

    @property
    def is_known(self) -> bool:
        return self.capacity > 0 and self.available < MOST

    @property
    def used(self) -> int:
        return max(0, self.capacity - self.available)

    @property
    def factor(self) -> Decimal | None:
        """Promised as a multiple of the capacity."""
        return (Decimal(self.promised) / self.capacity).quantize(Decimal("0.01")) if self.is_known else None


def level_of(domain: StorageDomain, capacity: int, available: int) -> SpaceLevel:
    """How short of space the domain is by its own thresholds."""
    if not Space(capacity, available, 0).is_known:
        return SpaceLevel.OK
    if available < domain.critical_bytes:
        return SpaceLevel.CRITICAL
    return SpaceLevel.LOW if available * 100 < domain.warning_percent * capacity else SpaceLevel.OK


def refusal(domain: StorageDomain, space: Space, wanted: int, where: str) -> str:
    """Why a disk of this size may not be promised; empty when it may."""
    if not space.is_known:
        return ""
    if space.available < domain.critical_bytes:
        return f"{where} has {size(space.available)} left, and takes no new disks below {size(domain.critical_bytes)}."
    if domain.overcommit and space.promised + wanted > domain.overcommit * space.capacity:
        left = max(0, int(domain.overcommit * space.capacity) - space.promised)
        return f"{where} may promise {domain.overcommit.normalize():f} times its {size(space.capacity)}: {size(left)} are left of that."
    return ""


def promised(disks: QuerySet[Disk]) -> int:
    return disks.aggregate(total=Sum("capacity_bytes"))["total"] or 0


def take(disk: Disk, field: str) -> None:
    """Makes sure that the domain may promise the disk. Call it in the transaction that writes the row: two at once wait for each other.

    Who also takes of a quota does that first, so that all lock the two in one order.

    Raises:
        FieldError: at `field`.
    """
    domain = StorageDomain.objects.select_for_update().get(pk=disk.domain_id)
    disks, capacity, available = domain.disks.exclude(pk=disk.pk), domain.capacity_bytes, domain.available_bytes
    where = domain.name
    if disk.host_id is not None:
        view = StorageDomainHost.objects.filter(domain=domain, host_id=disk.host_id).select_related("host").first()
        if view is not None:
            disks, capacity, available = disks.filter(host_id=disk.host_id), view.capacity_bytes, view.available_bytes
            where = f"{domain.name} on {view.host}"
    if reason := refusal(domain, Space(capacity, available, promised(disks)), disk.capacity_bytes, where):
        raise FieldError(field, reason)
