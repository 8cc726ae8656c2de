"""The chain of hashes: sealing what was written into it, and verifying it.

An entry comes into being in two steps, so that the log is complete and nobody waits for it:

1. `audit.log.append` writes a row of Waiting in the transaction of the change itself: both commit, or neither does. An entry
   that was appended only after the commit would be lost with a process that dies in between; the change would be there and
   nobody to answer for it.
2. Right after the commit `seal` moves what waits into the chain, in a short transaction of its own under the lock of the one
   Head row. Taking that lock within the change's transaction would make all changes wait for the slowest, and deadlock those
   that hold rows which the others need.

What a dead process left waiting is sealed by whoever seals next. While it waits, some milliseconds as a rule, it is not yet
guarded by the chain.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, transaction

from audit import guards
from audit.models import Entry, Head, Waiting

BATCH = 200
TRIMMED = "audit.trimmed"
# Written out, for a field that is added later must not change what earlier entries' hashes cover.
_COVERED = (
    "id", "actor_id", "actor_name", "as_whom_id", "as_whom", "action", "object_type", "object_id", "object_name", "address",
    "channel", "token", "job_id", "outcome", "message", "before", "after", "details",
)  # fmt: skip


def digest(entry: Entry) -> str:
    """SHA-256 over the entry's fields as canonical JSON, and the hash of the entry before."""
    fields = {name: getattr(entry, name) for name in _COVERED}
    fields["at"] = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{canonical}\n{entry.previous_hash}".encode()).hexdigest()


def seal() -> int:
    """Moves what waits into the chain, in the order in which it was written; how many."""
    count = 0
    while Waiting.objects.exists():
        with transaction.atomic():
            head = locked_head()
            rows = list(Waiting.objects.order_by("pk")[:BATCH])
            Entry.objects.bulk_create([_next(head, row.fields) for row in rows])
            Waiting.objects.filter(pk__in=[row.pk for row in rows]).delete()
            head.save(update_fields=["last_id", "last_hash"])
            count += len(rows)
    return count


def locked_head() -> Head:
    """The head, ours until the transaction ends."""
    last = Entry.objects.order_by("-pk").values_list("pk", "hash").first() if not Head.objects.exists() else None
    defaults = {"last_id": last[0], "last_hash": last[1]} if last else {}
    return Head.objects.select_for_update().get_or_create(pk=1, defaults=defaults)[0]


def _next(head: Head, fields: dict[str, Any]) -> Entry:
    entry = Entry(**{**fields, "at": datetime.fromisoformat(fields["at"])}, id=head.last_id + 1, previous_hash=head.last_hash)
    entry.hash = digest(entry)
    head.last_id, head.last_hash = entry.pk, entry.hash
    return entry


@dataclass(frozen=True)
class Fault:
    """Args: entry_id: where the chain is broken; None: it is not about one entry."""

    entry_id: int | None
    text: str


@dataclass(frozen=True)
class Report:
    """What a verification found."""

    count: int
    last_id: int
    last_hash: str
    removed_to_id: int
    faults: list[Fault]


def verify(expected: dict[int, str] | None = None) -> Report:
    """Reads the whole chain.

    Args:
        expected: id -> hash that somebody noted elsewhere: what the chain itself cannot show is that all of it was made anew.
    """
    faults = [Fault(None, text) for text in guards.missing(connection)]
    with suppress(IntegrityError):  # somebody put an entry where the next one belongs: told below
        seal()
    head = Head.objects.first() or Head()
    noted = {key: value for key, value in (expected or {}).items() if key > head.removed_to_id}
    count, last_id, last_hash = 0, head.removed_to_id, head.removed_hash
    for entry in Entry.objects.filter(pk__gt=head.removed_to_id, pk__lte=head.last_id).order_by("pk").iterator(chunk_size=1000):
        faults += _faults_of(entry, last_id, last_hash)
        if noted.pop(entry.pk, entry.hash) != entry.hash:
            faults.append(Fault(entry.pk, "it is not the entry whose hash was noted"))
        count, last_id, last_hash = count + 1, entry.pk, entry.hash
    if last_id < head.last_id:
        faults.append(Fault(last_id + 1, f"the log ended with entry {head.last_id}"))
    elif last_hash != head.last_hash:
        faults.append(Fault(last_id, "it is not the entry with which the log ended"))
    faults += [Fault(key, "its hash was noted, and it is not there") for key in noted]
    faults += [*_faults_of_beginning(head), *_faults_of_end()]
    return Report(count, last_id, last_hash, head.removed_to_id, faults)


def _faults_of(entry: Entry, last_id: int, last_hash: str) -> Iterator[Fault]:
    if entry.pk != last_id + 1:
        gap = f"entries {last_id + 1} to {entry.pk - 1} are missing" if entry.pk > last_id + 2 else "it is missing"
        yield Fault(last_id + 1, gap)
    elif entry.previous_hash != last_hash:
        yield Fault(entry.pk, "it does not follow the entry before it")
    if digest(entry) != entry.hash:
        yield Fault(entry.pk, "it was changed after it was written")


def _faults_of_beginning(head: Head) -> Iterator[Fault]:
    """What was removed by age says so in the chain: nobody else moves its beginning."""
    if not head.removed_to_id:
        return
    told = Entry.objects.filter(action=TRIMMED, pk__gt=head.removed_to_id).order_by("-pk").first()
    if told is None or (told.details.get("up_to"), told.details.get("hash")) != (head.removed_to_id, head.removed_hash):
        yield Fault(head.removed_to_id + 1, "the entries before it are gone, and no entry tells that their time was over")


def _faults_of_end() -> Iterator[Fault]:
    """The entries are asked first: those that are sealed meanwhile move the head as well."""
    last = Entry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    head = Head.objects.first() or Head()
    if last > head.last_id:
        yield Fault(head.last_id + 1, "it was put in by hand")
