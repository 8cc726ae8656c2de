"""What a host can do in each of its states."""

import pytest

from hosts.can import ACTIONS, check, verdicts
from hosts.models import Host, HostStatus
from jobs.models import Job

POSSIBLE = {
    HostStatus.INSTALLING: {"edit", "activate", "enrol", "remove"},
    HostStatus.UP: {"edit", "maintenance", "refresh"},
    HostStatus.NON_OPERATIONAL: {"edit", "activate", "maintenance", "refresh", "enrol", "remove"},
    HostStatus.PREPARING_FOR_MAINTENANCE: {"edit"},
    HostStatus.MAINTENANCE: {"edit", "activate", "refresh", "enrol", "remove"},
    HostStatus.NON_RESPONSIVE: {"edit", "activate", "maintenance", "enrol", "remove"},
    HostStatus.FENCING: {"edit"},
    HostStatus.DOWN: {"edit", "activate", "enrol", "remove"},
}


@pytest.mark.parametrize("status", HostStatus)
def test_each_state_allows_exactly_its_actions(status):
    host = Host(name="node1", status=status, transport="tls")
    assert {action for action in ACTIONS if check(action, host)} == POSSIBLE[status]


@pytest.mark.parametrize("status", HostStatus)
def test_each_refusal_has_a_sentence(status):
    host = Host(name="node1", status=status, transport="tls")
    for action in ACTIONS.keys() - POSSIBLE[status]:
        assert check(action, host).reason.endswith(".")


def test_busy_host_names_the_job():
    verdict = check("activate", Host(name="node1", status=HostStatus.MAINTENANCE), busy=Job(title="Remove host node1"))
    assert not verdict
    assert "Remove host node1" in verdict.reason


def test_host_by_ssh_needs_no_certificate():
    assert "SSH" in check("enrol", Host(name="n", status=HostStatus.MAINTENANCE, transport="ssh")).reason


def test_actions_that_are_never_permitted_are_hidden():
    shown = verdicts(Host(name="n", status=HostStatus.UP), frozenset({"host.maintain"}))
    assert shown["remove"] is None
    assert shown["maintenance"]
