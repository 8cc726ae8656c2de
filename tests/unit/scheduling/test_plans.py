"""Properties that no plan may break, whatever the cluster; and what balancing, packing and the reserve are for."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hosts.scheduling import balance
from hosts.scheduling.choose import decide
from hosts.scheduling.filters import FILTERS
from hosts.scheduling.reserve import can_lose, not_restarted
from hosts.scheduling.world import RESERVED_MIB, Affinity, Guest, HostView, Policy, World
from tests.unit.scheduling.test_choose import EVEN, guest, host, world


@st.composite
def worlds(draw) -> World:
    """Placed by the scheduler itself, so that no rule is broken at first."""
    number = draw(st.integers(1, 6))
    hosts = tuple(
        HostView(
            id=f"h{n}",
            name=f"h{n}",
            memory_mib=draw(st.sampled_from([2048, 4096, 8192])),
            cpus=8,
            out=draw(st.sampled_from(["", "", "", "it is down"])),
            storage=frozenset(draw(st.sets(st.sampled_from("xy")))),
            labels=frozenset(draw(st.sets(st.sampled_from("kl")))),
        )
        for n in range(number)
    )
    guests = [
        Guest(
            id=f"g{n}",
            name=f"g{n}",
            memory_mib=draw(st.sampled_from([128, 512, 1024, 3000])),
            guaranteed_mib=draw(st.sampled_from([0, 64])),
            priority=draw(st.integers(0, 100)),
            highly_available=draw(st.booleans()),
            migratable=draw(st.booleans()),
            needs_storage={"x": "x"} if draw(st.booleans()) else {},
            needs_labels=frozenset("k") if draw(st.booleans()) else frozenset(),
        )
        for n in range(draw(st.integers(0, 14)))
    ]
    ids = [each.id for each in guests]
    groups = tuple(
        Affinity(
            name=f"f{n}",
            members=frozenset(draw(st.lists(st.sampled_from(ids), max_size=4))),
            positive=draw(st.booleans()),
            hard=draw(st.booleans()),
        )
        for n in range(draw(st.integers(0, 3)) if ids else 0)
    )
    policy = Policy(
        weights=draw(st.sampled_from([{"even": 1.0}, {"packed": 1.0, "affinity": 1.0}])),
        memory_overcommit=draw(st.sampled_from([100, 150])),
    )
    made = World(hosts=hosts, affinities=groups, policy=policy)
    for each in guests:
        chosen = decide(made, each).chosen
        if chosen is not None:
            made = replace(made, guests=(*made.guests, replace(each, host=chosen.id)))
    return made


def broken(there: World) -> list[str]:
    """Every guest that a rule forbids to be where it is."""
    hosts = {each.id: each for each in there.hosts}
    found = []
    for each in there.guests:
        if each.host is not None:
            others = there.without(each)
            reasons = [reason for make in FILTERS.values() if (check := make(others, each)) and (reason := check(hosts[each.host]))]
            found += [f"{each.name} on {each.host}: {reason}" for reason in reasons]
    return found


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_what_the_scheduler_places_breaks_no_rule_and_overfills_no_host(there):
    assert broken(there) == []
    for each in there.hosts:
        load = there.loads[each.id]
        assert load.promised_mib <= max(0, each.memory_mib - RESERVED_MIB)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.integers(0, 8))
def test_a_plan_breaks_no_rule_moves_none_twice_and_keeps_its_promise(there, most):
    for plan in (balance.even(there, most), balance.packed(there, most)):
        after = there.with_moves((move.guest.id, move.target.id) for move in plan.moves)
        assert broken(after) == []
        assert len(plan.moves) <= most and len({move.guest.id for move in plan.moves}) == len(plan.moves)
        assert all(move.guest.migratable for move in plan.moves)
        assert abs(plan.after - balance.imbalance(after.hosts, after.spare)) < 1e-6
        for each in plan.freed:
            assert after.loads[each.id].guests == 0
    assert balance.even(there, most).after <= balance.even(there, most).before
    assert balance.even(there, most) == balance.even(replace(there, hosts=there.hosts[::-1]), most), "the order of rows tells nothing"


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_the_reserve_is_what_it_says(there):
    reserve = can_lose(there)
    if reserve.broken_by:
        assert not_restarted(there, list(reserve.broken_by)) == list(reserve.left_out) != []
        assert len(reserve.broken_by) == reserve.hosts + 1


def test_even_moves_from_the_fullest_to_the_emptiest_until_nothing_is_gained():
    there = world(host("a"), host("b"), guests=[guest(f"g{n}", "a") for n in range(6)])
    plan = balance.even(there)
    assert {(move.source.name, move.target.name) for move in plan.moves} == {("a", "b")} and len(plan.moves) == 3
    assert plan.before > 30 and plan.after == 0


def test_even_leaves_alone_what_gains_little():
    there = world(host("a"), host("b"), guests=[guest("g1", "a", memory_mib=256, vcpus=0), guest("g2", "a", memory_mib=256, vcpus=0)])
    assert len(balance.even(there).moves) == 1
    assert balance.even(there, least_gain=20).moves == ()


def test_packed_empties_a_host_whole_or_not_at_all():
    there = world(host("a"), host("b"), guests=[guest("g1", "a"), guest("g2", "b"), guest("g3", "b")])
    plan = balance.packed(there)
    assert [(move.guest.name, move.target.name) for move in plan.moves] == [("g1", "b")] and [each.name for each in plan.freed] == ["a"]
    held = world(host("a"), host("b"), guests=[guest("g1", "a", migratable=False), guest("g2", "a"), guest("g3", "b", migratable=False)])
    assert balance.packed(held).moves == ()


def test_a_cluster_that_is_too_full_can_lose_no_host():
    roomy = world(host("a"), host("b"), guests=[guest("g1", "a", highly_available=True)])
    assert can_lose(roomy).hosts == 1
    full = world(host("a"), host("b"), guests=[guest("g1", "a", highly_available=True, memory_mib=6000), guest("g2", "b", memory_mib=6000)])
    reserve = can_lose(full)
    assert reserve.hosts == 0 and [each.name for each in reserve.left_out] == ["g1"] and [each.name for each in reserve.broken_by] == ["a"]


def test_2500_hosts_and_45000_guests():
    """Scale; the times are the bench's."""
    pick = random.Random(7)
    hosts = [host(f"h{n:04}", memory_mib=65536, cpus=32) for n in range(2500)]
    guests = [guest(f"g{n}", f"h{int(pick.triangular(0, 2500, 0)):04}", memory_mib=512, highly_available=n % 3 == 0) for n in range(45000)]
    there = world(*hosts, guests=guests, policy=EVEN)
    plan = balance.even(there, most=500)
    assert len(plan.moves) == 500 and plan.after < plan.before
    after = there.with_moves((move.guest.id, move.target.id) for move in plan.moves)
    assert all(left >= 0 and claim >= 0 for left, claim in after.memory_left.values())
    assert decide(after, guest("new")).chosen is not None and can_lose(after).hosts >= 1
