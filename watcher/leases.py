"""Which hosts this watcher observes: leases in the database, renewed often, free when they run out."""

from datetime import datetime, timedelta
from math import ceil
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from hosts.models import Host, Watcher, WatchLease


def renew(me: UUID) -> set[UUID]:
    """Renews what this watcher holds, takes what nobody holds, gives back what is beyond its share; the hosts it now has.

    Called every third of a lease, so that a dead watcher's hosts are taken over four thirds of a lease after its death, at the latest.
    """
    with transaction.atomic():
        now = _now()
        length = timedelta(seconds=settings.WATCHER_LEASE_SECONDS)
        _show_up(me, now, length)
        joined = set(Host.objects.filter(last_seen_at__isnull=False).values_list("pk", flat=True))
        share = ceil(len(joined) / max(1, Watcher.objects.count()))
        # Only a lease that has not run out is still ours: another may have taken the others meanwhile.
        mine = set(WatchLease.objects.filter(watcher=me, expires_at__gt=now, host__in=joined).values_list("host_id", flat=True))
        surplus = sorted(mine, key=str)[share:]
        if surplus:
            WatchLease.objects.filter(host__in=surplus, watcher=me).delete()
            mine -= set(surplus)
        WatchLease.objects.filter(host__in=mine, watcher=me).update(expires_at=now + length)
        held = set(WatchLease.objects.filter(expires_at__gt=now).values_list("host_id", flat=True))
        for host_id in sorted(joined - held, key=str)[: max(0, share - len(mine))]:
            if _take(me, host_id, now, now + length):
                mine.add(host_id)
    return mine


def _now() -> datetime:
    """One clock for all watchers: that of the database, for their machines' may differ by more than a lease."""
    if connection.vendor != "postgresql":
        return timezone.now()  # an embedded database is on this machine
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def _show_up(me: UUID, now: datetime, length: timedelta) -> None:
    if not Watcher.objects.filter(pk=me).update(seen_at=now):
        Watcher.objects.create(pk=me, seen_at=now)
    Watcher.objects.filter(seen_at__lt=now - length).delete()


def _take(me: UUID, host_id: UUID, now: datetime, until: datetime) -> bool:
    """One UPDATE or INSERT decides between two watchers that want the same host."""
    if WatchLease.objects.filter(Q(expires_at__lte=now) | Q(watcher=me), host_id=host_id).update(watcher=me, expires_at=until):
        return True
    return WatchLease.objects.get_or_create(host_id=host_id, defaults={"watcher": me, "expires_at": until})[1]


def give_back(me: UUID) -> None:
    """An orderly end: the others need not wait for the leases to run out."""
    WatchLease.objects.filter(watcher=me).delete()
    Watcher.objects.filter(pk=me).delete()
