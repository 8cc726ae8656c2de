"""Hard rules. Each filter, made for one guest in one world, says why a host cannot take it: an empty text means that it can.

A filter that has nothing to say about a guest is None, and costs nothing.
"""

from collections.abc import Callable, Mapping

from hosts.scheduling.world import Guest, HostView, World

Check = Callable[[HostView], str]
Filter = Callable[[World, Guest], Check | None]


def state(world: World, guest: Guest) -> Check:
    return lambda host: host.out


def pinning(world: World, guest: Guest) -> Check | None:
    only, why = guest.only, guest.only_why or "it may only run on other hosts"
    return None if only is None else lambda host: "" if host.id in only else why


def cpu_model(world: World, guest: Guest) -> Check | None:
    if not guest.cpu_model:
        return None
    model = guest.cpu_model

    def check(host: HostView) -> str:
        return "" if host.cpu_models is None or model in host.cpu_models else f"its CPU cannot be a {model}"

    return check


def memory(world: World, guest: Guest) -> Check:
    """What is guaranteed always fits; what is claimed beyond that as far as the policy overcommits."""
    rooms, promised, claimed = world.memory_left, guest.promised_mib, guest.claimed_mib
    unknown = (promised, claimed)

    def check(host: HostView) -> str:
        to_promise, to_claim = rooms.get(host.id, unknown)
        if promised <= to_promise and claimed <= to_claim:
            return ""
        left = min(to_promise - promised + claimed, to_claim)
        return f"it has {max(0, left)} MiB left of the {claimed} MiB that it takes"

    return check


def vcpus(world: World, guest: Guest) -> Check:
    """More virtual CPUs than the host has run slower than one with fewer; more than the policy allows is refused."""
    loads, factor, wanted = world.loads, world.policy.cpu_overcommit, guest.vcpus

    def check(host: HostView) -> str:
        if not factor or not host.cpus:
            return ""
        left = int(host.cpus * factor) - loads[host.id].vcpus
        return "" if wanted <= left else f"it has {max(0, left)} vCPUs left of the {wanted} asked for"

    return check


def hugepages(world: World, guest: Guest) -> Check | None:
    if not guest.hugepages:
        return None
    loads, wanted = world.loads, guest.memory_mib

    def check(host: HostView) -> str:
        left = host.hugepages_mib - loads[host.id].hugepages_mib
        return "" if wanted <= left else f"it has {max(0, left)} MiB left in huge pages"

    return check


def storage(world: World, guest: Guest) -> Check | None:
    return _has(guest.needs_storage, lambda host: host.storage, "storage domain {} is not active there")


def networks(world: World, guest: Guest) -> Check | None:
    return _has(guest.needs_networks, lambda host: host.networks, "network {} is not there")


def labels(world: World, guest: Guest) -> Check | None:
    return _has({word: word for word in guest.needs_labels}, lambda host: host.labels, "it does not have the label {}")


def devices(world: World, guest: Guest) -> Check | None:
    return _has({name: name for name in guest.needs_devices}, lambda host: host.devices, "device {} is not free there")


def _has(needed: Mapping[str, str], of: Callable[[HostView], frozenset[str]], text: str) -> Check | None:
    if not needed:
        return None
    keys = frozenset(needed)

    def check(host: HostView) -> str:
        there = of(host)
        return "" if keys <= there else text.format(next(name for key, name in sorted(needed.items()) if key not in there))

    return check


def affinity(world: World, guest: Guest) -> Check | None:
    """Hard groups: together means where the first of them runs, apart means where none of them runs."""
    together: dict[str, set[str]] = {}
    apart: dict[str, dict[str, str]] = {}
    for group in world.affinities_of.get(guest.id, ()):
        if not group.hard:
            continue
        placed = {member: world.host_of[member] for member in sorted(group.members - {guest.id}) if member in world.host_of}
        if group.positive and placed:
            together[group.name] = set(placed.values())
        elif not group.positive:
            for member, host_id in placed.items():
                apart.setdefault(host_id, {})[group.name] = world.name_of[member]
    if not together and not apart:
        return None

    def check(host: HostView) -> str:
        for name, hosts in together.items():
            if host.id not in hosts:
                return f"affinity group {name} runs elsewhere"
        for name, other in apart.get(host.id, {}).items():
            return f"{other} runs there, and {name} keeps them apart"
        return ""

    return check


# In this order: the first that refuses is the reason that is shown.
FILTERS: dict[str, Filter] = {
    "state": state,
    "pinning": pinning,
    "cpu_model": cpu_model,
    "storage": storage,
    "networks": networks,
    "labels": labels,
    "devices": devices,
    "affinity": affinity,
    "hugepages": hugepages,
    "memory": memory,
    "vcpus": vcpus,
}
