"""Averages, their rolling up, and what a chart gets."""

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from metrics import history, live
from metrics.history import FIVE_MINUTES, HOUR, MINUTE, Averager
from metrics.models import Sample
from tests.build import make_host, make_user, make_vm

pytestmark = pytest.mark.django_db

VM = uuid.UUID(int=7)
TOPIC = f"vm:{VM}"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def sample(at: datetime, seconds: int = MINUTE, cpu: float | None = 50.0, **fields) -> Sample:
    return Sample.objects.create(**{"object_type": "vm", "object_id": VM, "seconds": seconds, "at": at, "cpu_percent": cpu} | fields)


class TestAverager:
    def test_a_minute_is_written_once_it_is_over_as_the_average_of_its_ticks(self):
        averager = Averager()
        for second, cpu in ((0, 10.0), (20, 20.0), (58, 60.0), (61, 99.0)):
            averager.add(NOON.timestamp() + second, {TOPIC: {"cpu_percent": cpu, "memory_bytes": None}})
        assert averager.flush(NOON.timestamp() + 61) == 1
        row = Sample.objects.get()
        assert (row.at, row.seconds, row.cpu_percent, row.memory_bytes) == (NOON, MINUTE, 30.0, None)
        assert averager.flush(NOON.timestamp() + 62) == 0

    def test_a_thousand_vms_take_few_statements(self, django_assert_max_num_queries):
        averager = Averager()
        averager.add(NOON.timestamp(), {f"vm:{uuid.uuid4()}": {"cpu_percent": 1.0} for _ in range(1000)})
        with django_assert_max_num_queries(15):
            assert averager.flush(NOON.timestamp() + 60) == 1000

    def test_what_could_not_be_written_is_written_later(self, monkeypatch):
        averager = Averager()
        averager.add(NOON.timestamp(), {TOPIC: {"cpu_percent": 1.0}})

        def away(*_, **__):
            raise OperationalError("the database is locked")

        with monkeypatch.context() as patch:
            patch.setattr(Sample.objects, "bulk_create", away)
            with pytest.raises(OperationalError):
                averager.flush(NOON.timestamp() + 60)
        assert averager.flush(NOON.timestamp() + 70) == 1

    def test_a_database_that_is_away_for_long_does_not_fill_memory(self):
        averager = Averager()
        averager.add(NOON.timestamp(), {TOPIC: {"cpu_percent": 1.0}})
        assert averager.flush(NOON.timestamp() + (history.MOST_WAITING + 2) * 60) == 0
        assert not averager._sums

    def test_of_two_watchers_with_the_same_minute_the_first_to_write_wins(self):
        for cpu in (1.0, 99.0):
            averager = Averager()
            averager.add(NOON.timestamp(), {TOPIC: {"cpu_percent": cpu}})
            averager.flush(NOON.timestamp() + 60)
        assert Sample.objects.get().cpu_percent == 1.0

    def test_the_end_writes_the_minute_that_was_begun(self):
        averager = Averager()
        averager.add(NOON.timestamp(), {TOPIC: {"cpu_percent": 1.0}})
        assert averager.flush(float("inf")) == 1


class TestRollUp:
    def test_five_minutes_and_then_hours_are_averages_of_what_is_below(self):
        for minute in range(60):
            sample(NOON + timedelta(minutes=minute), cpu=float(minute))
        history.roll_up(NOON + timedelta(minutes=63))
        fives = list(Sample.objects.filter(seconds=FIVE_MINUTES).order_by("at").values_list("cpu_percent", flat=True))
        assert fives == [float(5 * n + 2) for n in range(12)]
        assert Sample.objects.get(seconds=HOUR).cpu_percent == 29.5

    def test_a_period_waits_until_its_last_minute_is_surely_written(self):
        sample(NOON)
        history.roll_up(NOON + timedelta(minutes=6))
        assert not Sample.objects.filter(seconds=FIVE_MINUTES).exists()
        sample(NOON + timedelta(minutes=4), cpu=100.0)
        history.roll_up(NOON + timedelta(minutes=7))
        assert Sample.objects.get(seconds=FIVE_MINUTES).cpu_percent == 75.0

    def test_doing_it_twice_changes_nothing(self):
        sample(NOON)
        for _ in range(2):
            history.roll_up(NOON + timedelta(minutes=8))
        assert Sample.objects.filter(seconds=FIVE_MINUTES).count() == 1

    def test_months_without_numbers_take_no_time(self, django_assert_max_num_queries):
        sample(NOON)
        history.roll_up(NOON + timedelta(minutes=8))
        much_later = NOON + timedelta(days=300)
        sample(much_later)
        with django_assert_max_num_queries(20):
            history.roll_up(much_later + timedelta(minutes=8))
        assert Sample.objects.filter(seconds=FIVE_MINUTES, at=much_later).exists()

    def test_what_is_too_old_goes(self):
        sample(NOON)
        sample(NOON, FIVE_MINUTES)
        sample(NOON, HOUR)
        history.roll_up(NOON + history.KEPT[FIVE_MINUTES] + timedelta(seconds=1))
        assert list(Sample.objects.values_list("seconds", flat=True)) == [HOUR]

    def test_each_object_has_its_own_and_a_missing_number_stays_missing(self):
        other = uuid.uuid4()
        sample(NOON, cpu=None, memory_bytes=5.0)
        sample(NOON, object_id=other)
        history.roll_up(NOON + timedelta(minutes=8))
        row = Sample.objects.get(seconds=FIVE_MINUTES, object_id=VM)
        assert (row.cpu_percent, row.memory_bytes) == (None, 5.0)
        assert Sample.objects.get(seconds=FIVE_MINUTES, object_id=other).cpu_percent == 50.0


class TestSeries:
    def test_minutes_come_first_then_the_raw_points(self):
        vm, now = uuid.uuid4(), time.time()
        start = datetime.fromtimestamp((now - 600) // 60 * 60, UTC)
        for minute in range(8):
            sample(start + timedelta(minutes=minute), object_id=vm, cpu=float(minute))
        for second in (8, 6, 4, 2):
            live.put(now - second, {f"vm:{vm}": {"cpu_percent": 90.0}})
        columns = history.series("vm", vm)
        assert columns["at"] == sorted(columns["at"])
        assert [value for value in columns["cpu_percent"] if value is not None] == [float(n) for n in range(8)] + [90.0] * 4
        assert {len(column) for column in columns.values()} == {len(columns["at"])}

    def test_a_gap_between_raw_points_is_a_null(self):
        vm, now = uuid.uuid4(), time.time()
        for second in (60, 58, 10, 8):
            live.put(now - second, {f"vm:{vm}": {"cpu_percent": 1.0}})
        assert history.series("vm", vm)["cpu_percent"] == [1.0, 1.0, None, 1.0, 1.0]

    def test_a_gap_between_minutes_is_a_null(self):
        start = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=40)
        for minute in (0, 1, 30, 31):
            sample(start + timedelta(minutes=minute))
        assert history.series("vm", VM)["cpu_percent"] == [50.0, 50.0, None, 50.0, 50.0]

    def test_longer_times_are_drawn_from_coarser_averages(self):
        yesterday = timezone.now() - timedelta(hours=20)
        sample(yesterday, MINUTE, 1.0)
        sample(yesterday, FIVE_MINUTES, 2.0)
        sample(yesterday, HOUR, 3.0)
        assert history.series("vm", VM, 24)["cpu_percent"] == [2.0]
        assert history.series("vm", VM, 24 * 30)["cpu_percent"] == [3.0]

    def test_what_is_older_than_was_asked_for_is_left_out(self):
        sample(timezone.now() - timedelta(hours=2))
        assert history.series("vm", VM, 1)["at"] == []


class TestPage:
    def get(self, user, path, **query):
        client = Client()
        client.force_login(user)
        return client.get(path, query)

    def test_a_user_who_may_see_the_vm_gets_its_columns(self):
        vm = make_vm()
        sample(timezone.now() - timedelta(minutes=5), object_id=vm.pk)
        answer = self.get(make_user(role="UserRole", on=vm), f"/metrics/vm/{vm.pk}/")
        assert answer.status_code == 200 and answer.json()["cpu_percent"] == [50.0]

    def test_nobody_else_learns_that_there_is_one(self):
        vm, host = make_vm(), make_host()
        stranger = make_user()
        for path in (f"/metrics/vm/{vm.pk}/", f"/metrics/host/{host.pk}/", f"/metrics/vm/{uuid.uuid4()}/"):
            assert self.get(stranger, path).status_code == 404

    @pytest.mark.parametrize("kind", ["user", "job", "disk", "nonsense"])
    def test_only_vms_and_hosts_have_numbers(self, kind):
        assert self.get(make_user(role="SuperUser"), f"/metrics/{kind}/{uuid.uuid4()}/").status_code == 404

    @pytest.mark.parametrize(("hours", "status"), [("abc", 422), ("nan", 422), ("-5", 200), ("1e99", 200), ("inf", 200)])
    def test_any_number_of_hours_is_answered(self, hours, status):
        vm = make_vm()
        assert self.get(make_user(role="SuperUser"), f"/metrics/vm/{vm.pk}/", hours=hours).status_code == status

    def test_someone_signed_out_is_sent_to_sign_in(self):
        assert Client().get(f"/metrics/vm/{uuid.uuid4()}/").status_code in (302, 401)
