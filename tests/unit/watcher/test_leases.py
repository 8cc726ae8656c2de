"""Who observes which host."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from hosts.models import Host, Watcher, WatchLease
from tests.build import make_cluster, make_host
from watcher import leases

pytestmark = pytest.mark.django_db


@pytest.fixture
def six_hosts() -> set[UUID]:
    cluster = make_cluster()
    return {make_host(cluster=cluster, last_seen_at=timezone.now()).pk for _ in range(6)}


def dies(watcher: UUID) -> None:
    """It stopped renewing more than a lease ago."""
    long_ago = timezone.now() - timedelta(seconds=60)
    WatchLease.objects.filter(watcher=watcher).update(expires_at=long_ago)
    Watcher.objects.filter(pk=watcher).update(seen_at=long_ago)


def test_one_watcher_takes_every_host_that_joined(six_hosts):
    make_host(last_seen_at=None)
    assert leases.renew(uuid4()) == six_hosts


def test_a_second_watcher_gets_half_and_no_host_has_two(six_hosts):
    first, second = uuid4(), uuid4()
    leases.renew(first)
    assert leases.renew(second) == set(), "nothing is free until the first gives its surplus back"
    mine, others = leases.renew(first), leases.renew(second)
    assert len(mine) == len(others) == 3
    assert mine | others == six_hosts


def test_a_dead_watchers_hosts_are_taken_at_the_next_renewal(six_hosts):
    first, second = uuid4(), uuid4()
    leases.renew(first)
    leases.renew(second)
    dies(first)
    assert leases.renew(second) == six_hosts


def test_a_watcher_that_comes_back_late_has_nothing_until_it_is_its_turn(six_hosts):
    first, second = uuid4(), uuid4()
    leases.renew(first)
    dies(first)
    leases.renew(second)
    assert leases.renew(first) == set()
    leases.renew(second)
    assert len(leases.renew(first)) == 3


def test_leases_that_ran_out_unnoticed_are_ones_own_again_when_nobody_took_them(six_hosts):
    first = uuid4()
    leases.renew(first)
    WatchLease.objects.update(expires_at=timezone.now() - timedelta(seconds=60))
    assert leases.renew(first) == six_hosts


def test_an_orderly_end_frees_the_hosts_at_once(six_hosts):
    first, second = uuid4(), uuid4()
    leases.renew(first)
    leases.renew(second)
    leases.give_back(first)
    assert leases.renew(second) == six_hosts


def test_a_host_that_left_is_no_longer_held(six_hosts):
    first = uuid4()
    leases.renew(first)
    gone = six_hosts.pop()
    Host.objects.filter(pk=gone).delete()
    assert leases.renew(first) == six_hosts


def test_a_quiet_renewal_stays_cheap(six_hosts, django_assert_max_num_queries):
    first = uuid4()
    leases.renew(first)
    with django_assert_max_num_queries(12):
        leases.renew(first)
