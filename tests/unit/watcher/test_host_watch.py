"""What one host's watch does with events, lists, agents and failures, on libvirt's test driver."""

import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.db import OperationalError

from hosts.models import Host, HostStatus
from hypervisor import domains
from hypervisor.domain_state import DomainState
from hypervisor.errors import HostUnreachable, NotSupported
from hypervisor.events import DomainEvent, LinkEvent
from hypervisor.guests import AgentInfo
from hypervisor.links import LinkState
from hypervisor.stats import DomainSample
from tests.build import make_vm
from tests.unit.watcher.conftest import DOMAIN
from tests.waiting import until
from vms import observe as vms_observe
from vms.models import VM, VmOrigin, VmStatus
from watcher import host_watch, inbox


def event(vm: VM, kind: str, detail: str = "") -> DomainEvent:
    return DomainEvent(str(vm.pk), vm.name, kind, detail, datetime.now(UTC))


def test_what_is_done_with_virsh_shows_in_order(watch_host):
    watched = watch_host("web", "db")
    for verb, status in (
        ("suspend", VmStatus.PAUSED),
        ("resume", VmStatus.UP),
        ("destroy", VmStatus.DOWN),
        ("create", VmStatus.POWERING_UP),
    ):
        watched.virsh("web", verb)
        watched.becomes("web", status)
    assert watched.status("db") == VmStatus.UP


def test_a_domain_defined_with_virsh_is_adopted_and_one_undefined_leaves(watch_host):
    watched = watch_host("web")
    key = str(uuid.uuid4())
    watched.link.call(lambda connection: connection.defineXML(DOMAIN.format(name="by-hand", uuid=key)) and None)
    until(lambda: VM.objects.filter(pk=key, origin=VmOrigin.ADOPTED, status=VmStatus.DOWN).exists(), 5, "the new domain to be adopted")
    watched.virsh("by-hand", "undefine")
    until(lambda: not VM.objects.filter(pk=key).exists(), 5, "the adopted VM to leave")


def test_a_burst_of_a_thousand_events_is_written_in_few_transactions(watch_host, monkeypatch):
    watched = watch_host()
    vms = VM.objects.bulk_create(
        VM(name=f"vm{number}", cluster=watched.host.cluster, host=watched.host, status=VmStatus.UP, status_since=datetime.now(UTC))
        for number in range(1000)
    )
    written = []
    real = vms_observe.on_domain_events
    monkeypatch.setattr(vms_observe, "on_domain_events", lambda host, events: written.append(len(events)) or real(host, events))
    watched.may_write.clear()
    for vm in vms:
        watched.watch._on_event(event(vm, "suspended", "paused"))
    watched.may_write.set()
    until(lambda: VM.objects.filter(status=VmStatus.PAUSED).count() == 1000, 20, "all thousand to be paused")
    assert written == [inbox.BATCH] * 5


def test_a_guest_whose_agent_hangs_delays_no_event(watch_host, monkeypatch):
    gate, asked = threading.Event(), threading.Event()

    def hang(link, key):
        asked.set()
        gate.wait(20)
        return AgentInfo("web", "Linux", ())

    monkeypatch.setattr(host_watch, "agent_info", hang)
    watched = watch_host("web", "db")
    try:
        watched.host.capabilities = {"features": ["agent"]}
        watched.watch._agents.connected(str(watched.vms["web"].pk))
        assert asked.wait(5)
        watched.virsh("db", "suspend")
        watched.becomes("db", VmStatus.PAUSED, 2)
        before = watched.watch.heard_at
        until(lambda: watched.watch.heard_at > before, 2, "statistics to go on")
    finally:
        gate.set()
    until(lambda: VM.objects.get(name="web").guest_hostname == "web", 5, "what the guest said at last to show")


def test_a_list_that_takes_long_delays_no_event_and_does_not_undo_it(watch_host, monkeypatch):
    watched = watch_host("web", "db")
    gate, listing = threading.Event(), threading.Event()
    real = domains.list_domains

    def slow(link):
        records = real(link)
        listing.set()
        gate.wait(20)
        return records

    monkeypatch.setattr(domains, "list_domains", slow)
    try:
        watched.watch._read_soon()
        assert listing.wait(5)
        watched.virsh("web", "suspend")
        watched.becomes("web", VmStatus.PAUSED, 2)
    finally:
        gate.set()
    until(lambda: not watched.watch._reading, 5, "the old list to be applied")
    assert watched.status("web") == VmStatus.PAUSED, "the list said that it runs, but the event is newer"


def test_domains_are_listed_once_for_a_burst_of_definitions(watch_host, monkeypatch):
    watched = watch_host("web")
    real, lists = domains.list_domains, []
    monkeypatch.setattr(domains, "list_domains", lambda link: lists.append(1) or real(link))

    def define(connection):
        for number in range(50):
            connection.defineXML(DOMAIN.format(name=f"new{number}", uuid=uuid.uuid4()))

    watched.link.call(define)
    until(lambda: VM.objects.filter(origin=VmOrigin.ADOPTED).count() == 51, 15, "all fifty to be adopted")
    assert len(lists) <= 12


def test_a_database_that_is_away_loses_nothing(watch_host, monkeypatch):
    monkeypatch.setattr(inbox, "RETRY_SECONDS", 0.05)
    watched = watch_host("web", "db")
    real, failures = vms_observe.on_domain_events, [OperationalError("the database system is shutting down")] * 3

    def flaky(host, events):
        if failures:
            raise failures.pop()
        return real(host, events)

    monkeypatch.setattr(vms_observe, "on_domain_events", flaky)
    watched.virsh("web", "suspend")
    watched.virsh("db", "destroy")
    watched.becomes("web", VmStatus.PAUSED)
    watched.becomes("db", VmStatus.DOWN)
    assert not failures


def test_a_host_lost_while_the_database_was_away_is_marked_once_it_is_back(watch_host, monkeypatch):
    monkeypatch.setattr(inbox, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(inbox, "LONGEST", 3)
    watched = watch_host("web")
    watched.may_write.clear()
    for _ in range(5):
        watched.watch._on_event(event(watched.vms["web"], "suspended", "paused"))
    watched.watch._link.state = LinkState.DOWN
    watched.watch._on_event(LinkEvent(False, HostUnreachable("no answer to keepalive"), datetime.now(UTC)))
    watched.may_write.set()
    until(lambda: Host.objects.get(pk=watched.host.pk).status == HostStatus.NON_RESPONSIVE, 5, "the lost host to be non_responsive")
    watched.becomes("web", VmStatus.UNKNOWN)


def test_a_watch_without_its_lease_writes_nothing(watch_host, monkeypatch):
    watched = watch_host("web")
    written = []
    monkeypatch.setattr(vms_observe, "on_domain_events", lambda host, events: written.extend(events))
    watched.may_write.clear()
    watched.virsh("web", "suspend")
    until(lambda: len(watched.watch._inbox), 5, "the event to be heard")
    watched.watch.close()
    watched.may_write.set()
    watched.watch.poke(0)
    assert not written and watched.status("web") == VmStatus.UP


def test_vms_of_a_host_whose_marking_was_cut_short_are_marked_by_the_next_sweep(watch_host):
    watched = watch_host("web")
    Host.objects.filter(pk=watched.host.pk).update(status=HostStatus.NON_RESPONSIVE)
    watched.watch._link.state = LinkState.DOWN
    watched.watch._sweep()
    assert watched.status("web") == VmStatus.UNKNOWN


def test_a_host_that_was_taken_for_lost_and_answers_is_up_after_the_next_sweep(watch_host):
    watched = watch_host("web")
    Host.objects.filter(pk=watched.host.pk).update(status=HostStatus.NON_RESPONSIVE)
    VM.objects.update(status=VmStatus.UNKNOWN)
    watched.watch._sweep_at = 0
    until(lambda: Host.objects.get(pk=watched.host.pk).status == HostStatus.UP, 5, "the host to be up")
    watched.becomes("web", VmStatus.UP)


def test_a_host_that_cannot_say_what_it_is_is_watched_all_the_same(watch_host, monkeypatch):
    watched = watch_host("web")
    Host.objects.filter(pk=watched.host.pk).update(status=HostStatus.NON_RESPONSIVE)

    def cannot(link):
        raise NotSupported("this function is not supported by the connection driver: virConnectGetCapabilities")

    monkeypatch.setattr(host_watch.capabilities, "read", cannot)
    watched.watch._on_event(LinkEvent(True, None, datetime.now(UTC)))
    until(lambda: Host.objects.get(pk=watched.host.pk).status == HostStatus.UP, 5, "the host to be up")


def test_the_sweep_finds_what_no_event_told(watch_host):
    watched = watch_host("web")
    VM.objects.update(status=VmStatus.PAUSED)
    watched.watch._sweep_at = 0
    watched.becomes("web", VmStatus.UP)


def test_one_thing_that_cannot_be_written_does_not_lose_the_next(watch_host, monkeypatch):
    watched = watch_host("web")

    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(vms_observe, "agent_seen", broken)
    watched.may_write.clear()
    watched.watch._inbox.put(host_watch.AgentSaid(str(watched.vms["web"].pk), AgentInfo("", "", ())))
    watched.watch._on_event(event(watched.vms["web"], "suspended", "paused"))
    watched.may_write.set()
    watched.becomes("web", VmStatus.PAUSED)


@pytest.mark.parametrize(("state", "has"), [(DomainState.RUNNING, True), (DomainState.PAUSED, True), (DomainState.SHUTOFF, False)])
def test_only_what_runs_has_numbers(watch_host, monkeypatch, state, has):
    watched = watch_host("web")
    vm = make_vm(host=watched.host)
    now = [0.0]

    def sample(link):
        now[0] += 2
        return None, [DomainSample(str(vm.pk), now[0], state, cpu_ns=int(now[0] * 5e8), vcpus=1, memory_bytes=1 << 20)]

    monkeypatch.setattr(host_watch.stats, "sample", sample)
    before = watched.watch.heard_at
    until(lambda: now[0] > 6 and watched.watch.heard_at > before, 5, "some samples")
    found = [values[f"vm:{vm.pk}"]["cpu_percent"] for values in list(watched.values) if f"vm:{vm.pk}" in values]
    assert (found[:1] == [50.0]) is has


def test_a_host_that_left_and_came_back_has_no_rate_over_the_gap(watch_host):
    watched = watch_host("web")
    numbers = watched.watch._numbers
    watched.watch._stats_seconds = 1000
    sample = DomainSample(str(watched.vms["web"].pk), 1.0, DomainState.RUNNING, cpu_ns=0, vcpus=1)
    numbers.take(None, [sample])
    numbers.forget()
    assert numbers.take(None, [replace(sample, at=100.0, cpu_ns=10**9)]) == {}
