"""History: minute averages written in bulk, rolled up to 5 minutes and 1 hour, and read back as columns for a chart."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Avg
from django.utils import timezone

from metrics.live import METRICS, Values, recent
from metrics.models import Sample

MINUTE, FIVE_MINUTES, HOUR = 60, 300, 3600
# How long each resolution is kept.
KEPT = {MINUTE: timedelta(days=2), FIVE_MINUTES: timedelta(days=30), HOUR: timedelta(days=400)}


class Averager:
    """Adds ticks up per object and minute. One per watcher; not shared between threads."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0]))

    def add(self, at: float, values_of: Mapping[str, Values]) -> None:
        minute = int(at // MINUTE) * MINUTE
        for topic, values in values_of.items():
            sums = self._sums[topic, minute]
            for name, value in values.items():
                if value is not None and name in METRICS:
                    sums[name][0] += value
                    sums[name][1] += 1

    def flush(self, now: float) -> int:
        """Writes every minute that is over, in one statement; how many rows."""
        done = [key for key in self._sums if key[1] + MINUTE <= now]
        rows = []
        for topic, minute in done:
            object_type, object_id = topic.split(":", 1)
            averages = {name: total / count for name, (total, count) in self._sums.pop((topic, minute)).items() if count}
            rows.append(
                Sample(
                    object_type=object_type, object_id=UUID(object_id), seconds=MINUTE, at=datetime.fromtimestamp(minute, UTC), **averages
                )
            )
        Sample.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
        return len(rows)


def roll_up(now: datetime | None = None) -> None:
    """Averages of finished coarser periods, and the end of what is too old."""
    now = now or timezone.now()
    for source, target in ((MINUTE, FIVE_MINUTES), (FIVE_MINUTES, HOUR)):
        last = Sample.objects.filter(seconds=target).order_by("-at").values_list("at", flat=True).first()
        first = Sample.objects.filter(seconds=source).order_by("at").values_list("at", flat=True).first()
        if first is None:
            continue
        start = (last + timedelta(seconds=target)) if last else datetime.fromtimestamp(first.timestamp() // target * target, UTC)
        while start + timedelta(seconds=target) <= now:
            end = start + timedelta(seconds=target)
            groups = (
                Sample.objects.filter(seconds=source, at__gte=start, at__lt=end)
                .values("object_type", "object_id")
                .annotate(**{f"mean_{name}": Avg(name) for name in METRICS})
            )
            Sample.objects.bulk_create(
                [
                    Sample(
                        object_type=group["object_type"],
                        object_id=group["object_id"],
                        seconds=target,
                        at=start,
                        **{name: group[f"mean_{name}"] for name in METRICS},
                    )
                    for group in groups
                ],
                ignore_conflicts=True,
                batch_size=500,
            )
            start = end
    for seconds, kept in KEPT.items():
        Sample.objects.filter(seconds=seconds, at__lt=now - kept).delete()


def series(object_type: str, object_id: UUID, hours: float = 1) -> dict[str, list[Any]]:
    """Columns for a chart: minute averages, then the raw points of the last minutes. A missing stretch is one row of None.

    Returns:
        {"at": [epoch seconds], "cpu_percent": [...], ...}, oldest first.
    """
    now = timezone.now()
    resolution = MINUTE if hours <= 6 else FIVE_MINUTES if hours <= 24 * 7 else HOUR
    raw = recent(f"{object_type}:{object_id}") if hours <= 6 else []
    raw_from = raw[0]["at"] if raw else now.timestamp()
    stored = Sample.objects.filter(
        object_type=object_type, object_id=object_id, seconds=resolution, at__gte=now - timedelta(hours=hours)
    ).order_by("at")
    points: list[dict[str, Any]] = []
    for sample in stored.values("at", *METRICS):
        middle = sample["at"].timestamp() + resolution / 2
        if middle < raw_from:
            points.append({**sample, "at": middle})
    points += raw
    columns: dict[str, list[Any]] = {name: [] for name in ("at", *METRICS)}
    previous: float | None = None
    for point in points:
        if previous is not None and point["at"] - previous > 2.5 * resolution:
            columns["at"].append(previous + 1)
            for name in METRICS:
                columns[name].append(None)
        columns["at"].append(point["at"])
        for name in METRICS:
            columns[name].append(point.get(name))
        previous = point["at"]
    return columns
