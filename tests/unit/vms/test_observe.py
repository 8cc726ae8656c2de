"""From what libvirt says about domains to the rows of VMs: each state with its reason, and nothing believed of the wrong host."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from events.models import Event
from hosts.models import HostStatus
from hypervisor.domain_state import DomainState
from hypervisor.domain_xml import to_xml
from hypervisor.domains import DomainRecord
from hypervisor.events import DomainEvent
from hypervisor.guests import AgentInfo
from jobs.engine import submit
from tests.build import make_host, make_user, make_vm
from vms import observe
from vms.models import VM, VmOrigin, VmStatus
from vms.spec import build_spec

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    return make_host(name="node1")


@pytest.fixture
def other(host):
    return make_host(name="node2", cluster=host.cluster)


def event(vm, kind, detail="", **fields):
    return DomainEvent(**{"uuid": str(vm.pk), "name": vm.name, "kind": kind, "detail": detail, "at": timezone.now()} | fields)


def record(vm, state=DomainState.RUNNING, reason="", **fields):
    """What the host says; its definition is what Vireo asked for."""
    defaults = {"uuid": str(vm.pk), "name": vm.name, "persistent": True, "has_managed_save": False, "autostart": False}
    return DomainRecord(**defaults | {"state": state, "reason": reason, "xml": to_xml(build_spec(vm))} | fields)


def state(vm):
    vm.refresh_from_db()
    return vm.status, vm.status_reason


EVENTS = [
    # before, kind, detail, after, reason
    (VmStatus.DOWN, "started", "booted", VmStatus.POWERING_UP, ""),
    (VmStatus.SUSPENDED, "started", "restored", VmStatus.UP, ""),
    (VmStatus.UP, "suspended", "paused", VmStatus.PAUSED, "paused by a user"),
    (VmStatus.UP, "suspended", "ioerror", VmStatus.PAUSED, "I/O error on a disk"),
    (VmStatus.UP, "suspended", "watchdog", VmStatus.PAUSED, "the guest's watchdog fired"),
    (VmStatus.UP, "suspended", "api error", VmStatus.PAUSED, "an operation of libvirt failed"),
    (VmStatus.PAUSED, "resumed", "unpaused", VmStatus.UP, ""),
    (VmStatus.UP, "shutdown", "guest", VmStatus.POWERING_DOWN, ""),
    (VmStatus.UP, "reboot", "", VmStatus.REBOOT_IN_PROGRESS, ""),
    (VmStatus.UP, "pmsuspended", "memory", VmStatus.SUSPENDED, ""),
    (VmStatus.UP, "stopped", "destroyed", VmStatus.DOWN, ""),
    (VmStatus.UP, "stopped", "crashed", VmStatus.DOWN, "QEMU crashed"),
    (VmStatus.POWERING_UP, "stopped", "failed", VmStatus.DOWN, "QEMU ended with an error"),
    (VmStatus.UP, "stopped", "saved", VmStatus.SUSPENDED, "its memory is saved on the host"),
    (VmStatus.UP, "crashed", "panicked", VmStatus.DOWN, "the guest crashed"),
    (VmStatus.POWERING_UP, "agent", "connected", VmStatus.UP, ""),
    (VmStatus.POWERING_UP, "agent", "disconnected", VmStatus.POWERING_UP, ""),
    (VmStatus.PAUSED, "agent", "connected", VmStatus.PAUSED, ""),
    (VmStatus.UP, "graphics", "connect", VmStatus.UP, ""),
    (VmStatus.UP, "io-error", "virtio-disk0: enospc", VmStatus.UP, ""),
]


@pytest.mark.parametrize(("before", "kind", "detail", "after", "reason"), EVENTS)
def test_each_event_says_the_state_and_why(host, before, kind, detail, after, reason):
    vm = make_vm(host=host, status=before)
    must_read = observe.on_domain_event(host, event(vm, kind, detail))
    assert must_read == (detail == "ioerror"), "only of a disk's error the event does not say everything"
    assert state(vm) == (after, reason)


RECORDS = [
    # before, record's state, its reason, after, reason
    (VmStatus.DOWN, DomainState.RUNNING, "booted", VmStatus.UP, ""),
    (VmStatus.POWERING_UP, DomainState.RUNNING, "booted", VmStatus.POWERING_UP, ""),
    (VmStatus.REBOOT_IN_PROGRESS, DomainState.RUNNING, "", VmStatus.REBOOT_IN_PROGRESS, ""),
    (VmStatus.UNKNOWN, DomainState.BLOCKED, "", VmStatus.UP, ""),
    (VmStatus.UP, DomainState.PAUSED, "user", VmStatus.PAUSED, "paused by a user"),
    (VmStatus.UP, DomainState.PAUSED, "ioerror", VmStatus.PAUSED, "I/O error on a disk"),
    (VmStatus.UP, DomainState.PAUSED, "no space", VmStatus.PAUSED, "no space left on the storage domain"),
    (VmStatus.UP, DomainState.PAUSED, "crashed", VmStatus.PAUSED, "the guest's kernel crashed"),
    (VmStatus.UP, DomainState.PAUSED, "starting up", VmStatus.PAUSED, "started paused"),
    (VmStatus.UP, DomainState.PAUSED, "a word of tomorrow", VmStatus.PAUSED, "a word of tomorrow"),
    (VmStatus.UP, DomainState.PAUSED, "migration", VmStatus.MIGRATING_FROM, ""),
    (VmStatus.UP, DomainState.SHUTDOWN, "", VmStatus.POWERING_DOWN, ""),
    (VmStatus.UP, DomainState.PMSUSPENDED, "", VmStatus.SUSPENDED, "the guest sleeps"),
    (VmStatus.UP, DomainState.CRASHED, "", VmStatus.DOWN, "the guest crashed"),
    (VmStatus.UP, DomainState.SHUTOFF, "destroyed", VmStatus.DOWN, ""),
    (VmStatus.UP, DomainState.SHUTOFF, "crashed", VmStatus.DOWN, "QEMU crashed"),
    (VmStatus.UP, DomainState.SHUTOFF, "daemon", VmStatus.DOWN, "the host's libvirtd found it gone"),
    (VmStatus.UP, DomainState.NOSTATE, "", VmStatus.UNKNOWN, "libvirt does not know its state"),
]


@pytest.mark.parametrize(("before", "found", "why", "after", "reason"), RECORDS)
@pytest.mark.parametrize("by", ["job", "watcher"])
def test_each_record_says_the_state_and_why(host, by, before, found, why, after, reason):
    vm = make_vm(host=host, status=before)
    seen = record(vm, found, why)
    observe.record_seen(host, seen) if by == "job" else observe.sync_host(host, [seen])
    assert state(vm) == (after, reason)


def test_memory_saved_on_the_host_is_suspended_not_down(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    observe.sync_host(host, [record(vm, DomainState.SHUTOFF, "saved", has_managed_save=True)])
    assert state(vm) == (VmStatus.SUSPENDED, "its memory is saved on the host")


def test_an_io_error_turns_out_to_be_a_full_disk_once_the_disk_is_asked(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    observe.on_domain_event(host, event(vm, "suspended", "ioerror"))
    observe.sync_host(host, [record(vm, DomainState.PAUSED, "no space")])
    assert state(vm) == (VmStatus.PAUSED, "no space left on the storage domain")


def test_the_reason_of_a_crash_outlives_the_next_sweep(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    observe.on_domain_event(host, event(vm, "stopped", "crashed"))
    observe.sync_host(host, [record(vm, DomainState.SHUTOFF, "destroyed")])
    assert state(vm) == (VmStatus.DOWN, "QEMU crashed")


def test_events_of_one_batch_apply_in_their_order(host):
    vm = make_vm(host=host, status=VmStatus.DOWN)
    observe.on_domain_events(host, [event(vm, "started", "booted"), event(vm, "suspended", "paused"), event(vm, "resumed", "unpaused")])
    assert state(vm) == (VmStatus.UP, "")
    assert vm.rev == VM().rev + 1, "one write for the batch"


def test_what_says_nothing_new_writes_nothing(host):
    vm = make_vm(host=host, status=VmStatus.PAUSED, status_reason="paused by a user", rev=7)
    observe.on_domain_event(host, event(vm, "suspended", "paused"))
    observe.sync_host(host, [record(vm, DomainState.PAUSED, "user")])
    assert state(vm)[0] == VmStatus.PAUSED
    assert vm.rev == 7


def test_times_follow_the_state(host):
    vm, at = make_vm(host=host, status=VmStatus.DOWN), timezone.now()
    observe.on_domain_event(host, event(vm, "started", "booted", at=at))
    vm.refresh_from_db()
    assert (vm.started_at, vm.status_since) == (at, at)
    observe.on_domain_event(host, event(vm, "suspended", "paused", at=at + timedelta(seconds=5)))
    vm.refresh_from_db()
    assert (vm.started_at, vm.status_since) == (at, at + timedelta(seconds=5))
    observe.on_domain_event(host, event(vm, "stopped", "destroyed"))
    vm.refresh_from_db()
    assert vm.started_at is None


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("stopped", "migrated"),
        ("stopped", "destroyed"),
        ("stopped", "saved"),
        ("suspended", "migrated"),
        ("suspended", "paused"),
        ("shutdown", "guest"),
        ("crashed", "panicked"),
        ("pmsuspended", "memory"),
        ("reboot", ""),
    ],
)
def test_a_late_event_of_the_host_that_it_left_changes_nothing(host, other, kind, detail):
    vm = make_vm(host=other, status=VmStatus.UP)
    observe.on_domain_event(host, event(vm, kind, detail))
    assert state(vm) == (VmStatus.UP, "")
    assert vm.host_id == other.pk


@pytest.mark.parametrize(("kind", "detail"), [("started", "booted"), ("started", "migrated"), ("resumed", "migrated")])
def test_a_vm_that_starts_to_run_elsewhere_is_there_now(host, other, kind, detail):
    vm = make_vm(host=host, status=VmStatus.DOWN)
    observe.on_domain_event(other, event(vm, kind, detail))
    vm.refresh_from_db()
    assert vm.host_id == other.pk


@pytest.mark.parametrize("saved", [False, True])
def test_a_definition_left_behind_on_another_host_changes_nothing(host, other, saved):
    vm = make_vm(host=other, status=VmStatus.UP)
    observe.sync_host(host, [record(vm, DomainState.SHUTOFF, has_managed_save=saved)])
    assert state(vm) == (VmStatus.UP, "")
    assert vm.host_id == other.pk


def test_a_vm_that_is_being_made_stays_locked_until_its_job_is_done(host):
    vm = make_vm(host=host, status=VmStatus.IMAGE_LOCKED)
    observe.on_domain_event(host, event(vm, "defined", "added"))
    observe.on_domain_event(host, event(vm, "stopped", "failed"))
    observe.sync_host(host, [record(vm, DomainState.SHUTOFF)])
    observe.sync_host(host, [])
    observe.host_lost(host)
    assert state(vm) == (VmStatus.IMAGE_LOCKED, "")
    observe.created(vm)
    assert state(vm) == (VmStatus.DOWN, "")


def test_an_unknown_domain_and_a_changed_definition_ask_for_a_sync(host):
    vm = make_vm(host=host)
    assert observe.on_domain_event(host, event(vm, "undefined", "removed"))
    assert observe.on_domain_event(host, replace(event(vm, "started", "booted"), uuid=str(uuid4())))
    assert not observe.on_domain_event(host, event(vm, "started", "booted"))


def test_a_lost_host_makes_what_ran_unknown_and_its_return_makes_it_known(host):
    running, off = make_vm(host=host, status=VmStatus.UP, started_at=timezone.now()), make_vm(host=host, status=VmStatus.DOWN)
    elsewhere = make_vm(host=make_host(), status=VmStatus.UP)
    started = running.started_at
    observe.host_lost(host)
    assert state(running) == (VmStatus.UNKNOWN, "node1 does not answer")
    assert state(off) == (VmStatus.DOWN, "")
    assert state(elsewhere) == (VmStatus.UP, "")
    observe.sync_host(host, [record(running), record(off, DomainState.SHUTOFF)])
    assert state(running) == (VmStatus.UP, "")
    assert running.started_at == started, "it never stopped"


def test_a_domain_removed_outside_leaves_our_vm_down_with_the_reason_and_one_event(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    observe.sync_host(host, [])
    observe.sync_host(host, [])
    status, reason = state(vm)
    assert status == VmStatus.DOWN
    assert "removed on node1 outside of Vireo" in reason
    assert Event.objects.filter(kind="vm.domain_missing", object_id=vm.pk).count() == 1
    observe.sync_host(host, [record(vm, DomainState.SHUTOFF)])
    assert state(vm) == (VmStatus.DOWN, ""), "it is there again: the reason is no longer true"


def test_an_adopted_domain_removed_outside_takes_its_row_along(host):
    vm = make_vm(host=host, origin=VmOrigin.ADOPTED)
    observe.sync_host(host, [])
    assert not VM.objects.filter(pk=vm.pk).exists()


def test_a_missing_domain_whose_vm_a_job_holds_is_left_to_the_job(host):
    vm = make_vm(host=host, status=VmStatus.UP)
    submit("vm.poweroff", user=make_user(), target=vm, title="Power off")
    observe.sync_host(host, [])
    assert state(vm) == (VmStatus.UP, "")


def test_a_host_that_is_removed_takes_adopted_vms_and_frees_ours(host):
    ours, adopted = make_vm(host=host), make_vm(host=host, origin=VmOrigin.ADOPTED)
    observe.host_removed(host)
    ours.refresh_from_db()
    assert ours.host_id is None
    assert not VM.objects.filter(pk=adopted.pk).exists()


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        (VmStatus.POWERING_UP, observe.BOOT_SECONDS),
        (VmStatus.REBOOT_IN_PROGRESS, observe.BOOT_SECONDS),
        (VmStatus.POWERING_DOWN, observe.SHUTDOWN_SECONDS),
    ],
)
def test_settle_ends_what_no_event_will(host, status, seconds):
    now = timezone.now()
    due = make_vm(host=host, status=status, status_since=now - timedelta(seconds=seconds + 1))
    fresh = make_vm(host=host, status=status, status_since=now - timedelta(seconds=seconds - 1))
    silent = make_vm(host=make_host(status=HostStatus.NON_RESPONSIVE), status=status, status_since=due.status_since)
    observe.settle(now)
    assert [state(vm)[0] for vm in (due, fresh, silent)] == [VmStatus.UP, status, status]


def test_what_the_guest_says_of_itself_is_bounded_and_shows_that_it_is_up(host):
    vm = make_vm(host=host, status=VmStatus.POWERING_UP)
    info = AgentInfo(hostname="h" * 5000, os="<script>" * 500, addresses=tuple(f"{number}" * 500 for number in range(100)))
    observe.agent_seen(vm.pk, info)
    assert state(vm)[0] == VmStatus.UP
    assert len(vm.guest_hostname) == 255
    assert len(vm.guest_os) == 255
    assert len(vm.guest_addresses) == 32
    assert max(map(len, vm.guest_addresses)) == 64
    observe.agent_seen(uuid4(), info)


def test_a_shutdown_that_the_guest_ignored_ends_unless_it_went_down_meanwhile(host):
    stubborn, gone = make_vm(host=host, status=VmStatus.UP), make_vm(host=host, status=VmStatus.UP)
    for vm in (stubborn, gone):
        observe.powering_down(vm)
    observe.on_domain_event(host, event(gone, "stopped", "shutdown"))
    for vm in (stubborn, gone):
        observe.shutdown_ignored(vm)
    assert (state(stubborn)[0], state(gone)[0]) == (VmStatus.UP, VmStatus.DOWN)
