"""Wishes. Each weight, made for one guest in one world, says how well a host suits, from 0 to 1 (or None: it has no opinion)."""

from collections.abc import Callable

from hosts.scheduling.world import Guest, HostView, World

Score = Callable[[HostView], float]
Weight = Callable[[World, Guest], Score | None]


def even(world: World, guest: Guest) -> Score:
    """The most memory and CPU left, as a share of what the host has."""
    spare = world.spare
    return lambda host: spare[host.id]


def packed(world: World, guest: Guest) -> Score:
    """The fullest host that still fits, so that others can be switched off. An empty one is the last choice."""
    spare = world.spare
    return lambda host: 1 - spare[host.id]


def guests(world: World, guest: Guest) -> Score:
    """The fewest guests."""
    loads = world.loads
    most = max((load.guests for load in loads.values()), default=0) or 1
    return lambda host: 1 - loads[host.id].guests / most


def priority(world: World, guest: Guest) -> Score:
    """Away from hosts whose guests are important: a guest should not crowd those above it."""
    loads = world.loads
    most = max((load.priority for load in loads.values()), default=0) or 1
    return lambda host: 1 - loads[host.id].priority / most


def ha_spread(world: World, guest: Guest) -> Score | None:
    """Highly available guests lie apart, so that one host's failure costs few restarts."""
    if not guest.highly_available:
        return None
    count: dict[str, int] = {}
    for each in world.guests:
        if each.highly_available and each.host is not None:
            count[each.host] = count.get(each.host, 0) + 1
    most = max(count.values(), default=0) or 1
    return lambda host: 1 - count.get(host.id, 0) / most


def affinity(world: World, guest: Guest) -> Score | None:
    """Soft groups: the share of wishes that the host fulfils."""
    wishes = [
        (group.positive, {world.host_of[member] for member in group.members - {guest.id} if member in world.host_of})
        for group in world.affinities_of.get(guest.id, ())
        if not group.hard
    ]
    wishes = [(positive, placed) for positive, placed in wishes if placed]
    if not wishes:
        return None
    return lambda host: sum((host.id in placed) == positive for positive, placed in wishes) / len(wishes)


def stay(world: World, guest: Guest) -> Score | None:
    """Where it ran last: its disks may still be in that host's cache, and nothing has to be moved."""
    last = guest.host
    return None if last is None else lambda host: float(host.id == last)


WEIGHTS: dict[str, Weight] = {
    "even": even,
    "packed": packed,
    "guests": guests,
    "priority": priority,
    "ha_spread": ha_spread,
    "affinity": affinity,
    "stay": stay,
}
