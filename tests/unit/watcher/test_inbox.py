"""Order, batches and patience of a host's inbox."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError

from tests.waiting import until
from watcher import inbox
from watcher.inbox import Inbox, Interrupted

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def away() -> OperationalError:
    return OperationalError("server closed the connection unexpectedly")


def test_items_are_applied_in_order_and_what_piles_up_is_applied_together(pool):
    gate, batches = threading.Event(), []

    def apply(items):
        batches.append(list(items))
        gate.wait(10)

    box = Inbox(pool, apply)
    box.put(0)
    until(lambda: batches, 5, "the first to be taken")
    for number in range(1, 1001):
        box.put(number)
    gate.set()
    until(lambda: sum(map(len, batches)) == 1001, 5, "all to be applied")
    assert [item for batch in batches for item in batch] == list(range(1001))
    assert len(batches) == 1 + 1000 / inbox.BATCH


def test_what_a_failing_database_interrupts_comes_again_in_order(pool, monkeypatch):
    monkeypatch.setattr(inbox, "RETRY_SECONDS", 0.01)
    failures, applied = [away(), away()], []

    def apply(items):
        applied.append(items[0])
        if failures:
            raise Interrupted(1) from failures.pop()
        applied.extend(items[1:])

    box = Inbox(pool, apply, may_apply=lambda: len(box) != 1)
    for item in "abcd":
        box.put(item)
    until(lambda: box.poke() or applied == list("abcd"), 5, "all to be applied, none twice")


def test_another_error_loses_that_batch_and_no_later_one(pool):
    applied = []

    def apply(items):
        if items[0] == "bad":
            raise ValueError("cannot be applied")
        applied.extend(items)

    box = Inbox(pool, apply)
    box.put("bad")
    until(lambda: len(box) == 0, 5, "the bad one to be taken")
    box.put("good")
    until(lambda: applied == ["good"], 5, "the next to be applied")


def test_nothing_is_applied_while_it_may_not_be(pool):
    allowed, applied = threading.Event(), []
    box = Inbox(pool, applied.extend, may_apply=allowed.is_set)
    box.put("a")
    box.poke()
    assert not applied and len(box) == 1
    allowed.set()
    box.poke()
    until(lambda: applied == ["a"], 5, "it to be applied once it may")


def test_too_much_to_remember_is_shortened(pool, monkeypatch):
    monkeypatch.setattr(inbox, "LONGEST", 10)
    allowed, applied = threading.Event(), []
    box = Inbox(pool, applied.extend, may_apply=allowed.is_set, shorten=lambda items: [f"{len(items)} items"])
    for number in range(11):
        box.put(number)
    allowed.set()
    box.poke()
    until(lambda: applied == ["11 items"], 5, "the short version to be applied")


def test_a_closed_one_takes_and_applies_nothing(pool):
    applied: list[str] = []
    box = Inbox(pool, applied.extend, may_apply=lambda: not box._closed and len(box) > 1)
    box.put("a")
    box.close()
    box.put("b")
    box.poke()
    assert not applied and len(box) == 0
