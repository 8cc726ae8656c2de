"""Who is fenced: the pure decision, on cases and on any cluster."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.power.policy import Decision, Machine, Policy, Signs, decide

POLICY = Policy()


def machine(number: int, **fields) -> Machine:
    return Machine(UUID(int=number), f"node{number}", **fields)


def dead(number: int, **fields) -> Machine:
    return machine(number, **{"silent": True, "silent_seconds": 61} | fields)


def ask(*machines: Machine, policy: Policy = POLICY, signs: Signs | None = None) -> Decision:
    """About the first."""
    decision, reason = decide(policy, machines, machines[0].id, signs or Signs(answering=0, written=()))
    assert bool(reason) == (decision != Decision.NONE)
    return decision


UP = (machine(2), machine(3), machine(4))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (dead(1), Decision.FENCE),
        (machine(1), Decision.NONE),
        (dead(1, expected=False), Decision.NONE),
        (dead(1, silent_seconds=59), Decision.WAIT),
        (dead(1, agents=0), Decision.UNCLAIMED),
        (dead(1, enabled=False), Decision.OFF),
        (dead(1, busy="Maintenance of node1"), Decision.BUSY),
        (dead(1, retry_in=3), Decision.AGAIN),
    ],
)
def test_one_silent_host(host, expected):
    assert ask(host, *UP) == expected


def test_two_of_three_hosts_that_fall_silent_are_a_lost_network():
    assert ask(dead(1), dead(2), machine(3)) == Decision.STORM
    assert ask(dead(1), dead(2), dead(3)) == Decision.STORM
    assert ask(dead(1), machine(2, silent=True), machine(3)) == Decision.STORM, "however short it has been silent"


def test_half_is_enough_to_hold_and_less_is_not():
    assert ask(dead(1), dead(2), *(machine(n) for n in (3, 4))) == Decision.STORM
    assert ask(dead(1), dead(2), *(machine(n) for n in (3, 4, 5))) == Decision.FENCE
    assert ask(dead(1), dead(2), machine(3), policy=replace(POLICY, skip_percent=70)) == Decision.FENCE
    assert ask(dead(1), dead(2), *UP[1:], policy=replace(POLICY, skip_percent=10)) == Decision.STORM


def test_of_two_hosts_one_that_falls_silent_alone_is_fenced():
    assert ask(dead(1), machine(2)) == Decision.FENCE


def test_the_only_host_is_never_fenced_for_nothing_else_answers():
    assert ask(dead(1)) == Decision.STORM
    assert ask(dead(1), machine(2, expected=False), policy=replace(POLICY, skip_percent=100)) == Decision.STORM


def test_hosts_in_maintenance_do_not_count():
    assert ask(dead(1), dead(2), machine(3), machine(4, expected=False), machine(5, expected=False)) == Decision.STORM


def test_one_host_of_a_cluster_at_a_time():
    assert ask(dead(1), machine(2, fencing=True), *(machine(n) for n in range(3, 9))) == Decision.TURN


def test_a_host_whose_guests_answer_lives():
    assert ask(dead(1), *UP, signs=Signs(answering=1)) == Decision.GUESTS
    assert ask(dead(1), *UP, signs=Signs(answering=3), policy=replace(POLICY, skip_if_guests_answer=False)) == Decision.FENCE


def test_a_host_whose_guests_write_lives_if_the_cluster_looks_at_that():
    written = Signs(answering=0, written=("db",))
    assert ask(dead(1), *UP, signs=written) == Decision.FENCE
    assert ask(dead(1), *UP, signs=written, policy=replace(POLICY, skip_if_storage_written=True)) == Decision.WRITES


def test_a_crashed_kernel_is_left_time():
    policy = replace(POLICY, kdump_seconds=30)
    assert ask(dead(1, silent_seconds=89), *UP, policy=policy) == Decision.WAIT
    assert ask(dead(1, silent_seconds=90), *UP, policy=policy) == Decision.FENCE


def test_fencing_that_is_off_fences_nobody():
    assert ask(dead(1), *UP, policy=replace(POLICY, enabled=False)) == Decision.OFF


machines_strategy = st.lists(
    st.builds(
        Machine,
        id=st.uuids(),
        name=st.just("node"),
        silent=st.booleans(),
        silent_seconds=st.floats(0, 200),
        expected=st.booleans(),
        agents=st.integers(0, 2),
        enabled=st.booleans(),
        fencing=st.booleans(),
        retry_in=st.sampled_from([-1, 0, 5]),
        busy=st.sampled_from(["", "a job"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each.id,
).map(tuple)
policies = st.builds(
    Policy,
    enabled=st.booleans(),
    after_seconds=st.integers(0, 120),
    skip_percent=st.integers(1, 100),
    skip_if_guests_answer=st.booleans(),
    skip_if_storage_written=st.booleans(),
    kdump_seconds=st.integers(0, 60),
)


@given(policies, machines_strategy, st.integers(0, 3), st.sampled_from([(), ("db",)]))
def test_no_host_is_fenced_against_the_policy(policy, machines, answering, written):
    for host in machines:
        decision, _reason = decide(policy, machines, host.id, Signs(answering, written))
        if decision != Decision.FENCE:
            continue
        assert policy.enabled and host.enabled and host.agents and host.expected
        assert host.silent_seconds >= policy.after_seconds + policy.kdump_seconds
        assert not (policy.skip_if_guests_answer and answering)
        assert not (policy.skip_if_storage_written and written)
        assert not any(other.fencing for other in machines if other.id != host.id)
        expected = [each for each in machines if each.expected]
        silent = [each for each in expected if each.silent or each.fencing]
        assert len(silent) < len(expected), "somebody must answer"
        assert len(silent) == 1 or 100 * len(silent) < policy.skip_percent * len(expected)
