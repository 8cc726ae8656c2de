"""One placement: each rule refuses with its reason, wishes rank, and the same world gives the same host."""

import pytest

from hosts.scheduling.choose import decide
from hosts.scheduling.world import OVERHEAD_MIB, RESERVED_MIB, Affinity, Guest, HostView, Policy, World

EVEN = Policy(name="even", weights={"even": 1.0, "affinity": 2.0})


def host(name: str, **fields) -> HostView:
    return HostView(**{"id": name, "name": name, "memory_mib": 8192, "cpus": 8} | fields)


def guest(name: str, on: str | None = None, **fields) -> Guest:
    return Guest(**{"id": name, "name": name, "host": on, "memory_mib": 1024} | fields)


def world(*hosts: HostView, guests=(), affinities=(), policy=EVEN) -> World:
    return World(hosts=hosts, guests=tuple(guests), affinities=tuple(affinities), policy=policy)


def reason(there: HostView, new: Guest, **fields) -> str:
    (verdict,) = decide(world(there, **fields), new).verdicts
    return verdict.reason


@pytest.mark.parametrize(
    ("there", "new", "why"),
    [
        (host("a", out="it is in maintenance"), guest("g"), "it is in maintenance"),
        (host("a"), guest("g", only=frozenset({"b"}), only_why="its disks lie on b"), "its disks lie on b"),
        (host("a", cpu_models=frozenset({"qemu64"})), guest("g", cpu_model="EPYC"), "its CPU cannot be a EPYC"),
        (
            host("a", storage=frozenset({"1"})),
            guest("g", needs_storage={"1": "disks", "2": "archive"}),
            "storage domain archive is not active there",
        ),
        (host("a"), guest("g", needs_networks={"7": "dmz"}), "network dmz is not there"),
        (host("a"), guest("g", needs_labels=frozenset({"licence"})), "it does not have the label licence"),
        (host("a"), guest("g", needs_devices=frozenset({"pci_0000_01_00_0"})), "device pci_0000_01_00_0 is not free there"),
        (host("a", hugepages_mib=512), guest("g", hugepages=True), "it has 512 MiB left in huge pages"),
        (host("a", memory_mib=1024), guest("g"), f"it has {1024 - RESERVED_MIB} MiB left of the {1024 + OVERHEAD_MIB} MiB that it takes"),
    ],
)
def test_each_rule_refuses_with_its_reason(there, new, why):
    assert reason(there, new) == why
    assert decide(world(there), new).chosen is None


def test_a_host_of_which_nothing_is_known_is_not_judged():
    assert decide(world(HostView(id="a", name="a")), guest("g", cpu_model="EPYC", vcpus=64, memory_mib=1 << 20)).chosen is not None


def test_overcommit_lets_guests_claim_more_but_not_be_guaranteed_more():
    twice = Policy(memory_overcommit=200)
    full = [guest(f"g{n}", "a", memory_mib=1856) for n in range(4)]  # 4 × 1,920 MiB is all that 8,192 − 512 leaves
    assert "left of" in reason(host("a"), guest("new"), guests=full)
    assert "left of" in reason(host("a"), guest("new"), guests=full, policy=twice), "what they are guaranteed is all they claim"
    half = [guest(f"g{n}", "a", memory_mib=1856, guaranteed_mib=928) for n in range(4)]
    assert reason(host("a"), guest("new"), guests=half, policy=twice) == ""
    assert "left of" in reason(host("a"), guest("new", guaranteed_mib=512), guests=half), "without overcommit claims count"


def test_vcpus_are_limited_by_the_policy_alone():
    busy = [guest("g1", "a", vcpus=12)]
    assert reason(host("a"), guest("new", vcpus=8), guests=busy) == ""
    assert (
        reason(host("a"), guest("new", vcpus=8), guests=busy, policy=Policy(cpu_overcommit=2)) == "it has 4 vCPUs left of the 8 asked for"
    )


def test_hard_affinity_is_kept_and_soft_affinity_counts():
    hosts = host("a"), host("b")
    there = [guest("db", "a", memory_mib=4096)]
    together = Affinity(name="pair", members=frozenset({"db", "web"}), positive=True)
    apart = Affinity(name="two", members=frozenset({"db", "web"}), positive=False)
    assert decide(world(*hosts, guests=there), guest("web")).chosen.name == "b", "the emptier one"
    assert decide(world(*hosts, guests=there, affinities=[together]), guest("web")).chosen.name == "a"
    decision = decide(world(*hosts, guests=there, affinities=[apart]), guest("web"))
    assert decision.chosen.name == "b" and decision.verdicts[1].reason == "db runs there, and two keeps them apart"
    soft = Affinity(name="pair", members=frozenset({"db", "web"}), positive=True, hard=False)
    assert decide(world(*hosts, guests=there, affinities=[soft]), guest("web")).chosen.name == "a"
    assert decide(world(*hosts, guests=there, affinities=[together, apart]), guest("web")).chosen is None


def test_a_guest_that_runs_is_placed_anew_as_if_its_own_claim_were_free():
    decision = decide(world(host("a", memory_mib=2048), guests=[guest("g", "a")]), guest("g", "a"))
    assert decision.chosen is not None


def test_equals_are_told_apart_by_name_whatever_their_order():
    hosts = [host("b"), host("a"), host("c")]
    for order in (hosts, hosts[::-1]):
        assert [verdict.host.name for verdict in decide(world(*order), guest("g")).verdicts] == ["a", "b", "c"]


@pytest.mark.parametrize(("weight", "chosen"), [("even", "b"), ("packed", "a"), ("guests", "b"), ("priority", "b"), ("ha_spread", "b")])
def test_each_weight_prefers_what_it_is_for(weight, chosen):
    there = [guest("old", "a", highly_available=True)]
    decision = decide(world(host("a"), host("b"), guests=there, policy=Policy(weights={weight: 1})), guest("g", highly_available=True))
    assert decision.chosen.name == chosen and decision.weights == ((weight, 1),)


def test_stay_keeps_a_guest_where_it_is():
    policy = Policy(weights={"stay": 1.0})
    assert decide(world(host("a"), host("b"), guests=[guest("g", "b")], policy=policy), guest("g", "b")).chosen.name == "b"


def test_why_none_names_common_reasons_once():
    hosts = [host(f"h{n}", out="it is down") for n in range(5)] + [host("z", memory_mib=600)]
    text = decide(world(*hosts), guest("g")).why_none
    assert text.startswith("h0, h1, h2 and 2 more: it is down; z: it has ")
    assert decide(world(), guest("g")).why_none == "it has no hosts"
