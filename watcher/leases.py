"""Which hosts this watcher observes: leases in the database, renewed often, free when they run out."""

from datetime import timedelta
from math import ceil
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hosts.models import Host, Watcher, WatchLease


def _seconds() -> float:
    return settings.WATCHER_LEASE_SECONDS


def renew(me: UUID) -> set[UUID]:
    """Renews what this watcher holds, takes what nobody holds, gives back what is beyond its share; the hosts it now has.

    Called every third of a lease, so that a dead watcher's hosts are taken over one lease after its death.
    """
    now = timezone.now()
    until = now + timedelta(seconds=_seconds())
    with transaction.atomic():
        Watcher.objects.update_or_create(pk=me, defaults={"seen_at": now})
        Watcher.objects.filter(seen_at__lt=now - timedelta(seconds=_seconds())).delete()
        watchers = Watcher.objects.count()
        joined = set(Host.objects.filter(last_seen_at__isnull=False).values_list("pk", flat=True))
        share = ceil(len(joined) / max(1, watchers))
        # Only a lease that has not run out is still ours: another may have taken the others meanwhile.
        mine = set(WatchLease.objects.filter(watcher=me, expires_at__gt=now, host__in=joined).values_list("host_id", flat=True))
        for host_id in sorted(mine, key=str)[share:]:
            WatchLease.objects.filter(host_id=host_id, watcher=me).delete()
            mine.discard(host_id)
        WatchLease.objects.filter(host_id__in=mine, watcher=me).update(expires_at=until)
        held = set(WatchLease.objects.filter(expires_at__gt=now).values_list("host_id", flat=True))
        for host_id in sorted(joined - held, key=str)[: max(0, share - len(mine))]:
            if _take(me, host_id, until):
                mine.add(host_id)
    return mine


def _take(me: UUID, host_id: UUID, until: object) -> bool:
    """One UPDATE or INSERT decides between two watchers that want the same host."""
    now = timezone.now()
    if WatchLease.objects.filter(Q(expires_at__lte=now) | Q(watcher=me), host_id=host_id).update(watcher=me, expires_at=until):
        return True
    _lease, created = WatchLease.objects.get_or_create(host_id=host_id, defaults={"watcher": me, "expires_at": until})
    return created


def give_back(me: UUID) -> None:
    """An orderly end: the others need not wait for the leases to run out."""
    WatchLease.objects.filter(watcher=me).delete()
    Watcher.objects.filter(pk=me).delete()
