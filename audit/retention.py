"""Entries leave by age, from the beginning of the chain; where it begins now, and why, the chain itself tells."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from audit import chain, log
from audit.models import Entry, Head

logger = logging.getLogger(__name__)
BATCH = 2000


def trim() -> int:
    """Removes what is older than AUDIT_DAYS; how many. Without a term, nothing. What a dead process left waiting is sealed first."""
    chain.seal()
    if not settings.AUDIT_DAYS:
        return 0
    count = _move_beginning(timezone.now() - timedelta(days=settings.AUDIT_DAYS))
    try:
        _remove_before_beginning()
    except DatabaseError as error:
        logger.warning("old audit entries could not be removed: %s", error)
    return count


def _move_beginning(cutoff: object) -> int:
    """What is removed is always a piece from the beginning, so the first entry that is young enough ends it."""
    with transaction.atomic():
        head = chain.locked_head()
        young = Entry.objects.filter(pk__gt=head.removed_to_id, at__gte=cutoff).order_by("pk").values_list("pk", flat=True).first()
        last = Entry.objects.filter(pk__gt=head.removed_to_id, pk__lt=young or head.last_id + 1).order_by("-pk").first()
        if last is None:
            return 0
        count = last.pk - head.removed_to_id
        head.removed_to_id, head.removed_hash = last.pk, last.hash
        head.save(update_fields=["removed_to_id", "removed_hash"])
        log.append(
            chain.TRIMMED,
            f"{count} entries, up to number {last.pk}, left the audit log: they were older than {settings.AUDIT_DAYS} days",
            details={"up_to": last.pk, "hash": last.hash},
        )
    return count


def _remove_before_beginning() -> None:
    """A few at a time; what a run leaves is removed by the next. The plain queryset is the one that may."""
    head = Head.objects.first()
    if head is None:
        return
    if connection.vendor == "postgresql" and not _may_delete():
        with connection.cursor() as cursor:
            cursor.execute("SELECT audit_trim()")  # deploy/postgresql-audit.sql
        return
    rows: models.QuerySet[Entry] = models.QuerySet(Entry)
    while keys := list(rows.filter(pk__lte=head.removed_to_id).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        rows.filter(pk__in=keys).delete()


def _may_delete() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege(current_user, 'audit_entry', 'DELETE')")
        return bool(cursor.fetchone()[0])
