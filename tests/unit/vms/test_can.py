"""What a VM can do in each of its states, and what it says when it cannot."""

import pytest

from hosts.models import Host, HostStatus
from jobs.models import Job
from vms.can import ACTIONS, check, verdicts
from vms.models import VM, VmStatus

FEATURES = {"features": ["display", "start-paused", "migrate"]}
# While it runs.
FORCE = {"console", "poweroff", "reset"}
RUNNING = FORCE | {"edit", "shutdown", "pause", "reboot"}
# Its job goes on, whatever a click would do.
ONLY_EDIT = {"edit"}

POSSIBLE = {
    VmStatus.DOWN: {"start", "start_paused", "run_once", "edit", "template", "remove"},
    VmStatus.WAIT_FOR_LAUNCH: FORCE | ONLY_EDIT,
    VmStatus.POWERING_UP: RUNNING | {"migrate"},
    VmStatus.UP: RUNNING | {"migrate"},
    VmStatus.POWERING_DOWN: FORCE | ONLY_EDIT,
    VmStatus.REBOOT_IN_PROGRESS: RUNNING,
    VmStatus.PAUSED: FORCE | {"edit", "resume"},
    VmStatus.SAVING_STATE: ONLY_EDIT,
    VmStatus.SUSPENDED: {"start", "edit"},
    VmStatus.RESTORING_STATE: ONLY_EDIT,
    VmStatus.MIGRATING_FROM: ONLY_EDIT,
    VmStatus.MIGRATING_TO: ONLY_EDIT,
    VmStatus.IMAGE_LOCKED: set(),
    VmStatus.NOT_RESPONDING: FORCE | ONLY_EDIT,
    VmStatus.UNKNOWN: ONLY_EDIT,
}
STARTS = {"start", "start_paused", "run_once"}


def vm(status, *, host_status=HostStatus.UP, capabilities=FEATURES, **fields):
    host = Host(name="node1", status=host_status, driver="QEMU", capabilities=capabilities)
    return VM(name="web-01", status=status, host=host, **fields)


def possible(found, **options):
    return {action for action in ACTIONS if check(action, found, **options)}


def test_the_table_knows_every_state():
    assert set(POSSIBLE) == set(VmStatus)


@pytest.mark.parametrize("status", VmStatus)
@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_in_each_state(status, action):
    verdict = check(action, vm(status))
    assert bool(verdict) == (action in POSSIBLE[status])
    if verdict:
        assert verdict.reason == ""
    else:
        assert "web-01" in verdict.reason
        assert verdict.reason.endswith(".")


@pytest.mark.parametrize("status", VmStatus)
@pytest.mark.parametrize("host_status", [HostStatus.NON_RESPONSIVE, HostStatus.FENCING, HostStatus.INSTALLING])
def test_on_a_host_that_does_not_answer_only_rows_can_change(status, host_status):
    found = vm(status, host_status=host_status)
    assert possible(found) == POSSIBLE[status] & {"edit"}
    for action in POSSIBLE[status] - {"edit"}:
        reason = check(action, found).reason
        assert "node1" in reason
        assert host_status.label.lower() in reason


@pytest.mark.parametrize("status", VmStatus)
def test_of_a_host_that_is_known_to_be_off_vms_may_start_elsewhere(status):
    assert possible(vm(status, host_status=HostStatus.DOWN)) == POSSIBLE[status] & {"edit", "start", "start_paused", "run_once"}


@pytest.mark.parametrize("status", VmStatus)
@pytest.mark.parametrize("host_status", [HostStatus.PREPARING_FOR_MAINTENANCE, HostStatus.NON_OPERATIONAL])
def test_on_a_host_that_is_to_rest_a_start_is_the_schedulers_to_judge(status, host_status):
    assert possible(vm(status, host_status=host_status)) == POSSIBLE[status]


@pytest.mark.parametrize("status", VmStatus)
def test_from_a_host_in_maintenance_a_vm_can_only_start_elsewhere(status):
    assert possible(vm(status, host_status=HostStatus.MAINTENANCE)) == POSSIBLE[status] & (STARTS | {"edit"})


@pytest.mark.parametrize("status", VmStatus)
def test_a_job_that_runs_leaves_the_console_and_the_rows(status):
    found, job = vm(status), Job(title="Reset web-01")
    assert possible(found, busy=job) == POSSIBLE[status] & {"console", "edit"}
    for action in ACTIONS.keys() - {"console", "edit"}:
        assert "«Reset web-01»" in check(action, found, busy=job).reason


def test_a_protected_vm_is_not_removed_and_says_where_the_protection_is():
    found = vm(VmStatus.DOWN, delete_protected=True)
    assert possible(found) == POSSIBLE[VmStatus.DOWN] - {"remove"}
    assert "protected" in check("remove", found).reason


def test_a_vm_without_a_place_yet_may_start():
    assert check("start", VM(name="web-01", status=VmStatus.DOWN, host=None))


def test_nobody_knows_whether_a_vm_runs_whose_host_is_silent():
    reason = check("start", vm(VmStatus.UNKNOWN, host_status=HostStatus.NON_RESPONSIVE)).reason
    assert "node1 does not answer" in reason


@pytest.mark.parametrize(("action", "status"), [("console", VmStatus.UP), ("start_paused", VmStatus.DOWN)])
def test_what_the_hosts_driver_cannot_do_is_refused_and_names_it(action, status):
    for capabilities in ({}, {"features": []}):
        verdict = check(action, vm(status, capabilities=capabilities))
        assert not verdict
        assert "QEMU" in verdict.reason


def test_what_a_user_may_never_do_is_not_shown():
    shown = verdicts(vm(VmStatus.UP), frozenset({"vm.stop"}))
    assert {action for action, verdict in shown.items() if verdict is not None} == {"shutdown", "poweroff"}
    assert shown["shutdown"]
    assert list(shown) == list(ACTIONS), "menus show them in this order"


def test_dangerous_actions_ask_first():
    assert {name for name, action in ACTIONS.items() if action.danger} == {"reset", "poweroff", "remove"}
