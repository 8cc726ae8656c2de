"""Live values in Redis, and the frames that browsers get."""

import time
import uuid

import pytest
import redis

from metrics import live

VALUES = {"cpu_percent": 12.345, "memory_bytes": 123456789.0, "net_rx_bps": None}


@pytest.fixture
def topic() -> str:
    return f"vm:{uuid.uuid4()}"


@pytest.fixture
def frames(monkeypatch):
    sent = []
    monkeypatch.setattr(live, "publish_to", lambda topic, message: sent.append(message))
    return sent


@pytest.fixture
def no_redis(monkeypatch, tmp_path):
    monkeypatch.setattr(live, "_client", redis.Redis.from_url(f"unix://{tmp_path / 'nothing.sock'}"))


def test_the_last_tick_is_what_is_shown_as_now(topic):
    now = time.time()
    live.put(now - 2, {topic: {"cpu_percent": 50.0}})
    live.put(now, {topic: VALUES})
    assert live.latest([topic, "vm:unknown"]) == {topic: {"at": round(now, 1), "cpu_percent": 12.3, "memory_bytes": 123456789}}


def test_what_is_old_is_not_shown_as_now_but_is_still_history(topic):
    live.put(time.time() - live.STALE_SECONDS - 1, {topic: VALUES})
    assert live.latest([topic]) == {}
    assert len(live.recent(topic)) == 1


def test_only_the_last_minutes_are_kept_and_go_by_themselves(topic):
    for number in range(live.RING_LENGTH + 10):
        live.put(1000 + number, {topic: {"cpu_percent": 1.0}})
    points = live.recent(topic)
    assert [points[0]["at"], points[-1]["at"], len(points)] == [1010, 1000 + live.RING_LENGTH + 9, live.RING_LENGTH]
    assert 0 < live.client().ttl(f"vireo:ring:{topic}") <= live.RING_SECONDS


def test_frames_go_out_only_for_what_somebody_looks_at(topic, frames):
    other = f"vm:{uuid.uuid4()}"
    live.watch([f"metrics:{topic}"])
    live.put(5000.0, {topic: VALUES, other: VALUES})
    assert frames == [{"type": "live.metrics", "topic": f"metrics:{topic}", "at": 5000.0, "values": VALUES}]


def test_frames_end_when_nobody_says_any_more_that_they_look(topic, frames):
    live.watch([f"metrics:{topic}"], seconds=-1)
    live.put(5000.0, {topic: VALUES})
    assert not frames


def test_without_redis_nothing_fails_and_nothing_is_shown(topic, no_redis):
    live.put(time.time(), {topic: VALUES})
    assert live.latest([topic]) == {} and live.recent(topic) == []


def test_a_redis_that_is_away_is_mentioned_once_a_minute(topic, no_redis, monkeypatch, caplog):
    monkeypatch.setattr(live, "_complained_at", -1e9)
    for _ in range(5):
        live.put(time.time(), {topic: VALUES})
    assert len([record for record in caplog.records if "could not be kept" in record.message]) == 1


def test_a_point_takes_little_room(topic):
    live.put(time.time(), {topic: dict.fromkeys(live.METRICS, 123456.789)})
    assert len(live.client().lindex(f"vireo:ring:{topic}", -1)) <= 64
