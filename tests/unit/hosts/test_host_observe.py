"""What observers may write about a host, and what they must leave alone."""

import pytest
from django.utils import timezone

from events.models import Event
from hosts import observe
from hosts.models import HostStatus
from hypervisor.capabilities import HostCapabilities
from hypervisor.errors import CallTimeout, CertificateRefused, HostUnreachable
from tests.build import make_host

pytestmark = pytest.mark.django_db


def joined(**fields):
    return make_host(last_seen_at=timezone.now(), **fields)


def test_lost_host_is_non_responsive_with_the_reason_and_one_event():
    host = joined()
    assert observe.lost(host, HostUnreachable("connection refused"))
    assert not observe.lost(host, HostUnreachable("connection refused"))
    assert host.status == HostStatus.NON_RESPONSIVE
    assert "connection refused" in host.status_reason
    assert Event.objects.filter(kind="host.non_responsive").count() == 1


def test_returning_host_is_up_once():
    host = joined(status=HostStatus.NON_RESPONSIVE)
    assert observe.seen(host)
    assert not observe.seen(host)
    assert (host.status, host.status_reason) == (HostStatus.UP, "")


@pytest.mark.parametrize("status", [HostStatus.MAINTENANCE, HostStatus.INSTALLING, HostStatus.FENCING])
def test_silence_is_no_news_from_a_host_that_is_out_of_use(status):
    host = joined(status=status)
    assert not observe.lost(host, "gone")
    host.refresh_from_db()
    assert host.status == status


@pytest.mark.parametrize("status", [HostStatus.MAINTENANCE, HostStatus.NON_OPERATIONAL, HostStatus.PREPARING_FOR_MAINTENANCE])
def test_answer_does_not_take_a_host_into_use(status):
    host = joined(status=status)
    assert not observe.seen(host)
    host.refresh_from_db()
    assert host.status == status


def test_host_that_never_joined_is_not_brought_up_by_an_answer():
    host = make_host(status=HostStatus.NON_RESPONSIVE, last_seen_at=None)
    assert not observe.seen(host)
    host.refresh_from_db()
    assert host.status == HostStatus.NON_RESPONSIVE


def test_each_change_raises_the_revision():
    host = joined()
    observe.lost(host, "gone")
    first = host.rev
    observe.seen(host)
    assert host.rev > first > 0


def test_capabilities_may_be_empty():
    host = joined()
    observe.capabilities(host, HostCapabilities())
    host.refresh_from_db()
    assert host.hardware_uuid is None
    assert host.capabilities["features"] == []


def test_same_capabilities_again_are_no_change():
    host = joined()
    caps = HostCapabilities(hostname="n", uuid="6695eb01-f6a4-8304-79aa-97f2502e193f", memory_bytes=1 << 30, cpus=4, features=frozenset({"b", "a"}))
    observe.capabilities(host, caps)
    rev = host.rev
    observe.capabilities(host, caps)
    host.refresh_from_db()
    assert host.rev == rev
    assert host.capabilities["features"] == ["a", "b"]
    assert host.cpu_count == 4


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CertificateRefused("not signed by our CA"), "certificate"),
        (CallTimeout("no answer within 5 s"), "accepts connections but"),
        (HostUnreachable("refused"), "does not answer"),
    ],
)
def test_reasons_are_sentences_that_name_the_address(error, words):
    host = joined()
    text = observe.explain(host, error)
    assert words in text
    assert host.address in text
