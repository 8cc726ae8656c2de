"""The chain: each entry follows the one before, and whatever is done to it by hand is found."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.utils import timezone

from audit import chain, guards, log, retention
from audit.models import AppendOnly, Entry, Head, Waiting
from tests.build import make_vm

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def guarded():
    guards.install(connection)
    yield
    guards.remove(connection)


@pytest.fixture
def entries(guarded):
    for number in range(5):
        log.append("vm.start.asked", f"Run number {number}", change=log.changes({"n": number}, {"n": number + 1}))


def by_hand(statement: str, *values: object) -> None:
    """What somebody with the database's password does: away with the guards, and put them back."""
    guards.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
    guards.install(connection)


def faults() -> list[tuple[int | None, str]]:
    return [(fault.entry_id, fault.text) for fault in chain.verify().faults]


def test_entries_follow_one_another_without_gaps(entries):
    report = chain.verify()
    assert (report.count, report.last_id, report.faults) == (5, 5, [])
    rows = list(Entry.objects.order_by("pk"))
    assert [row.pk for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0].previous_hash == "" and all(after.previous_hash == before.hash for before, after in zip(rows, rows[1:], strict=False))
    assert not Waiting.objects.exists()


def test_an_empty_log_is_sound(guarded):
    assert chain.verify() == chain.Report(0, 0, "", 0, [])


@pytest.mark.parametrize("field", ["message", "actor_name", "address", "outcome", "object_name", "as_whom", "channel", "token"])
def test_a_changed_field_is_found(entries, field):
    by_hand(f"UPDATE audit_entry SET {field} = 'x' WHERE id = 3")
    assert faults() == [(3, "it was changed after it was written")]


def test_changed_values_and_times_are_found(entries):
    by_hand("UPDATE audit_entry SET after = '{\"n\": 99}' WHERE id = 2")
    by_hand("UPDATE audit_entry SET at = %s WHERE id = 4", timezone.now() - timedelta(days=1))
    assert [key for key, _text in faults()] == [2, 4]


def test_an_entry_that_was_changed_with_its_hash_breaks_the_next_one(entries):
    forged = Entry.objects.get(pk=3)
    forged.message = "nothing happened"
    by_hand("UPDATE audit_entry SET message = %s, hash = %s WHERE id = 3", forged.message, chain.digest(forged))
    assert faults() == [(4, "it does not follow the entry before it")]


def test_removed_entries_are_found_wherever_they_were(entries):
    by_hand("DELETE FROM audit_entry WHERE id = 3")
    assert faults() == [(3, "it is missing")]
    by_hand("DELETE FROM audit_entry WHERE id IN (1, 2)")
    assert faults()[0] == (1, "entries 1 to 3 are missing")
    by_hand("DELETE FROM audit_entry WHERE id = 5")
    assert (5, "the log ended with entry 5") in faults()


def test_an_entry_put_in_by_hand_is_found(entries):
    by_hand(
        "INSERT INTO audit_entry SELECT 6, at, actor_id, actor_name, as_whom_id, as_whom, action, object_type, object_id, object_name, address,"
        " channel, token, job_id, outcome, message, before, after, details, previous_hash, hash FROM audit_entry WHERE id = 5"
    )
    assert faults() == [(6, "it was put in by hand")]


def test_a_log_that_was_made_anew_as_a_whole_is_found_by_a_hash_that_was_noted(entries):
    noted = {5: Entry.objects.get(pk=5).hash}
    guards.remove(connection)
    previous = ""
    for entry in Entry.objects.order_by("pk"):
        entry.message, entry.previous_hash = "all is well", previous
        previous = chain.digest(entry)
        by_hand(
            "UPDATE audit_entry SET message = %s, previous_hash = %s, hash = %s WHERE id = %s",
            entry.message,
            entry.previous_hash,
            previous,
            entry.pk,
        )
    by_hand("UPDATE audit_head SET last_hash = %s", previous)
    assert chain.verify().faults == []
    assert chain.verify(noted).faults == [chain.Fault(5, "it is not the entry whose hash was noted")]
    assert chain.verify({77: "0" * 64}).faults == [chain.Fault(77, "its hash was noted, and it is not there")]


def test_a_guard_that_was_taken_away_is_found(entries):
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER audit_entry_no_update" + ("" if connection.vendor == "sqlite" else " ON audit_entry"))
    assert [text for _key, text in faults()] == ["the database's guard audit_entry_no_update is not there: entries can be changed"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET message = 'x' WHERE id = 1",
        "DELETE FROM audit_entry WHERE id = 5",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET last_id = 1",
    ],
)
def test_the_database_refuses(entries, statement):
    with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert chain.verify().faults == []


def test_the_model_refuses(entries):
    entry = Entry.objects.get(pk=1)
    for attempt in (
        entry.save,
        entry.delete,
        Entry.objects.all().delete,
        lambda: Entry.objects.filter(pk=1).update(message="x"),
        lambda: Entry.objects.bulk_update([entry], ["message"]),
        lambda: Entry.objects.bulk_create([entry], update_conflicts=True, update_fields=["message"], unique_fields=["id"]),
    ):
        with pytest.raises(AppendOnly):
            attempt()


def test_what_is_undone_leaves_no_entry(guarded):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        log.append("vm.edited", "it did not happen")
        raise ZeroDivisionError
    assert chain.verify().count == 0


def test_what_a_dead_process_left_waiting_is_sealed_with_the_next(guarded):
    Waiting.objects.create(
        fields={"at": timezone.now().isoformat(), "action": "vm.edited", "message": "the process died", "channel": "page"}
    )
    log.append("vm.edited", "the next")
    assert list(Entry.objects.order_by("pk").values_list("message", flat=True)) == ["the process died", "the next"]


def test_many_at_once_make_one_chain(guarded):
    problems = []

    def write(name: str) -> None:
        try:
            for number in range(10):
                with transaction.atomic():
                    log.append("vm.edited", f"{name} {number}")
        except DatabaseError as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(f"thread {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = chain.verify()
    assert (problems, report.count, report.faults) == ([], 60, [])
    for number in range(6):  # each thread's own stay in their order
        own = [entry.message for entry in Entry.objects.filter(message__startswith=f"thread {number} ").order_by("pk")]
        assert own == [f"thread {number} {each}" for each in range(10)]


def age(*keys: int, days: int = 10) -> None:
    """Makes the first entries old, chain and all."""
    previous = ""
    for entry in Entry.objects.order_by("pk"):
        entry.previous_hash = previous
        entry.at -= timedelta(days=days if entry.pk in keys else 0)
        previous = chain.digest(entry)
        by_hand(
            "UPDATE audit_entry SET at = %s, previous_hash = %s, hash = %s WHERE id = %s", entry.at, entry.previous_hash, previous, entry.pk
        )
    by_hand("UPDATE audit_head SET last_hash = %s", previous)


def test_retention_removes_what_is_old_and_the_rest_still_verifies(entries, settings):
    age(1, 2, 3)
    settings.AUDIT_DAYS = 5
    assert retention.trim() == 3
    report = chain.verify()
    assert (report.faults, report.removed_to_id, report.count) == ([], 3, 3)  # 4, 5, and the entry that tells of it
    told = Entry.objects.get(action="audit.trimmed")
    assert told.details["up_to"] == 3 and "3 entries" in told.message
    assert retention.trim() == 0
    assert Entry.objects.filter(action="audit.trimmed").count() == 1


def test_without_a_term_nothing_is_removed(entries, settings):
    age(1, 2, 3, days=10_000)
    assert settings.AUDIT_DAYS == 0
    assert retention.trim() == 0
    assert Entry.objects.count() == 5


def test_an_old_entry_behind_a_newer_one_stays(entries, settings):
    age(1, 3)
    settings.AUDIT_DAYS = 5
    assert retention.trim() == 1
    assert chain.verify().faults == []


def test_who_moves_the_beginning_by_hand_is_found(entries):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_head SET removed_to_id = 2, removed_hash = (SELECT hash FROM audit_entry WHERE id = 2)")
        cursor.execute("DELETE FROM audit_entry WHERE id <= 2")
    assert faults() == [(3, "the entries before it are gone, and no entry tells that their time was over")]


def test_a_head_that_is_gone_begins_where_the_log_ends(entries):
    by_hand("DELETE FROM audit_head")
    log.append("vm.edited", "one more", obj=make_vm())
    assert Head.objects.get().last_id == 6
    assert chain.verify().faults == []
