"""History: minute averages written in bulk, rolled up to 5 minutes and 1 hour, and read back as columns for a chart."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Avg, Max, Min
from django.utils import timezone

from metrics.live import METRICS, Values, recent
from metrics.models import Sample

MINUTE, FIVE_MINUTES, HOUR = 60, 300, 3600
# How long each resolution is kept; charts of up to so many hours are drawn from it.
KEPT = {MINUTE: timedelta(hours=12), FIVE_MINUTES: timedelta(days=14), HOUR: timedelta(days=400)}
DRAWN_HOURS = {MINUTE: 6, FIVE_MINUTES: 24 * 7}
# A period is rolled up this long after its end, when its last minutes have been written for sure.
LATE = timedelta(minutes=2)
# Finished minutes that wait for a database that is away; older ones are given up.
MOST_WAITING = 30
BATCH = 500

_Key = tuple[str, int]


class Averager:
    """Adds ticks up per object and minute. Safe to use from several threads; `add` never waits for the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[_Key, dict[str, list[float]]] = {}

    def add(self, at: float, values_of: Mapping[str, Values]) -> None:
        minute = int(at // MINUTE) * MINUTE
        with self._lock:
            for topic, values in values_of.items():
                sums = self._sums.setdefault((topic, minute), {})
                for name, value in values.items():
                    if value is not None and name in METRICS:
                        total = sums.setdefault(name, [0.0, 0])
                        total[0] += value
                        total[1] += 1

    def flush(self, now: float) -> int:
        """Writes every minute that is over, in few statements; how many rows. What could not be written stays for the next time."""
        with self._lock:
            for key in [key for key in self._sums if key[1] < now - MOST_WAITING * MINUTE and now != float("inf")]:
                del self._sums[key]
            done = {key: sums for key, sums in self._sums.items() if key[1] + MINUTE <= now}
        rows = [_minute(key, sums) for key, sums in done.items() if sums]
        if rows:
            # Two watchers may both have had part of a minute: the first to write it wins.
            Sample.objects.bulk_create(rows, ignore_conflicts=True, batch_size=BATCH)
        with self._lock:
            for key in done:
                self._sums.pop(key, None)
        return len(rows)


def _minute(key: _Key, sums: Mapping[str, list[float]]) -> Sample:
    topic, minute = key
    object_type, object_id = topic.split(":", 1)
    averages = {name: total / count for name, (total, count) in sums.items()}
    return Sample(object_type=object_type, object_id=UUID(object_id), seconds=MINUTE, at=_moment(minute), **averages)


def _moment(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def roll_up(now: datetime | None = None) -> None:
    """Averages of finished coarser periods, and the end of what is too old. May run twice, or late."""
    now = now or timezone.now()
    for source, target in ((MINUTE, FIVE_MINUTES), (FIVE_MINUTES, HOUR)):
        written = Sample.objects.filter(seconds=target).aggregate(last=Max("at"))["last"]
        fresh = Sample.objects.filter(seconds=source)
        if written:
            fresh = fresh.filter(at__gte=written + timedelta(seconds=target))
        while (first := fresh.aggregate(first=Min("at"))["first"]) is not None:
            start = _moment(first.timestamp() // target * target)
            end = start + timedelta(seconds=target)
            if end + LATE > now:
                break
            _roll_up_one(source, target, start, end)
            fresh = Sample.objects.filter(seconds=source, at__gte=end)
    for seconds, kept in KEPT.items():
        Sample.objects.filter(seconds=seconds, at__lt=now - kept).delete()


def _roll_up_one(source: int, target: int, start: datetime, end: datetime) -> None:
    groups = (
        Sample.objects.filter(seconds=source, at__gte=start, at__lt=end)
        .values("object_type", "object_id")
        .annotate(**{f"mean_{name}": Avg(name) for name in METRICS})
    )
    rows = [
        Sample(
            object_type=group["object_type"],
            object_id=group["object_id"],
            seconds=target,
            at=start,
            **{name: group[f"mean_{name}"] for name in METRICS},
        )
        for group in groups
    ]
    Sample.objects.bulk_create(rows, ignore_conflicts=True, batch_size=BATCH)


def series(object_type: str, object_id: UUID, hours: float = 1) -> dict[str, list[Any]]:
    """Columns for a chart: averages, then the raw points of the last minutes. A missing stretch is one row of None.

    Returns:
        {"at": [epoch seconds], "cpu_percent": [...], ...}, oldest first.
    """
    now = timezone.now()
    resolution = next((seconds for seconds, most in DRAWN_HOURS.items() if hours <= most), HOUR)
    since = now - timedelta(hours=hours)
    raw = [point for point in recent(f"{object_type}:{object_id}") if point["at"] >= since.timestamp()] if resolution == MINUTE else []
    raw_from = raw[0]["at"] if raw else float("inf")
    stored = Sample.objects.filter(object_type=object_type, object_id=object_id, seconds=resolution, at__gte=since).order_by("at")
    points: list[tuple[dict[str, Any], float]] = []
    for sample in stored.values("at", *METRICS):
        middle = sample["at"].timestamp() + resolution / 2
        if middle < raw_from:
            points.append(({**sample, "at": middle}, resolution))
    points += [(point, settings.WATCHER_STATS_SECONDS) for point in raw]
    return _columns(points)


def _columns(points: list[tuple[dict[str, Any], float]]) -> dict[str, list[Any]]:
    """Args: points, each with the seconds that should lie between it and its neighbours."""
    columns: dict[str, list[Any]] = {name: [] for name in ("at", *METRICS)}
    previous: tuple[float, float] | None = None
    for point, step in points:
        if previous is not None and point["at"] - previous[0] > 2.5 * max(step, previous[1]):
            columns["at"].append(round(previous[0] + previous[1], 1))
            for name in METRICS:
                columns[name].append(None)
        columns["at"].append(point["at"])
        for name in METRICS:
            columns[name].append(point.get(name))
        previous = point["at"], step
    return columns
