"""Which guests should move, and what is gained: a plan, which changes nothing by itself."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import pstdev

from hosts.scheduling.draft import Draft
from hosts.scheduling.world import Guest, HostView, World

# Hosts that are looked at as the target of a move: the emptiest that fit are among them unless rules are very narrow.
TARGETS = 64
# Less than this is no gain but rounding.
LEAST = 1e-6


@dataclass(frozen=True)
class Move:
    """Args: gain: how much less uneven the cluster is after it, in points of `imbalance`."""

    guest: Guest
    source: HostView
    target: HostView
    gain: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Args: before, after: `imbalance`, 0 to 100. freed: hosts that are empty after it and were not before."""

    moves: tuple[Move, ...]
    before: float
    after: float
    freed: tuple[HostView, ...] = ()


def imbalance(hosts: Iterable[HostView], spare: dict[str, float]) -> float:
    """The standard deviation of how full the hosts are, in percent points; hosts that take no guests do not count."""
    used = [100 * (1 - spare[host.id]) for host in hosts if not host.out]
    return pstdev(used) if len(used) > 1 else 0.0


class _Spread:
    """`imbalance` of these hosts, kept while two of them change at a time."""

    def __init__(self, hosts: list[HostView], spare: dict[str, float]) -> None:
        used = [100 * (1 - spare[host.id]) for host in hosts]
        self.count, self.sum, self.squares = len(used), sum(used), sum(value * value for value in used)

    def replaced(self, before: Iterable[float], after: Iterable[float]) -> "_Spread":
        """As it is when what was left on these hosts (0 to 1) becomes this."""
        other = object.__new__(_Spread)
        old, new = [100 * (1 - value) for value in before], [100 * (1 - value) for value in after]
        other.count, other.sum = self.count, self.sum + sum(new) - sum(old)
        other.squares = self.squares + sum(value * value for value in new) - sum(value * value for value in old)
        return other

    @property
    def deviation(self) -> float:
        mean = self.sum / self.count
        return math.sqrt(max(0.0, self.squares / self.count - mean * mean))


def even(world: World, most: int = 10, least_gain: float = 0.0) -> Plan:
    """Moves from the fullest hosts to the emptiest, as long as each makes the cluster more even.

    Args:
        most: moves.
        least_gain: by which each move makes the two hosts less different, in percent points of how full they are.
    """
    draft = Draft(world)
    hosts = [host for host in world.by_name if not host.out]
    before = imbalance(hosts, draft.spare)
    spread = _Spread(hosts, draft.spare)
    moves: list[Move] = []
    stuck: set[str] = set()
    while len(moves) < most and (sources := [host for host in hosts if host.id not in stuck]):
        source = min(sources, key=lambda host: draft.spare[host.id])
        found = _best_move(draft, spread, source, hosts, {move.guest.id for move in moves}, least_gain)
        if found is None:
            stuck.add(source.id)
        else:
            move, spread = found
            moves.append(move)
    return Plan(tuple(moves), before, imbalance(hosts, draft.spare))


def _best_move(
    draft: Draft, spread: _Spread, source: HostView, hosts: list[HostView], moved: set[str], least_gain: float
) -> tuple[Move, _Spread] | None:
    """Carries it out in the draft. A guest moves once in a plan: each move costs its user something."""
    targets = sorted(hosts, key=lambda host: -draft.spare[host.id])[:TARGETS]
    if draft.spare[targets[0].id] - draft.spare[source.id] <= least_gain / 100:
        return None
    guests = [guest for guest in draft.guests_on[source.id].values() if guest.migratable and guest.id not in moved]
    # The least important first, and of these the largest: few moves do much.
    for guest in sorted(guests, key=lambda guest: (guest.priority, -guest.memory_mib, guest.id)):
        found = _try(draft, spread, guest, source, targets, least_gain)
        if found is not None:
            return found
    return None


def _try(
    draft: Draft, spread: _Spread, guest: Guest, source: HostView, targets: list[HostView], least_gain: float
) -> tuple[Move, _Spread] | None:
    """To the emptiest that can take it; fuller ones would gain less."""
    source_before = draft.spare[source.id]
    loose = draft.put(guest, None)
    checks = draft.checks(loose)
    target = next((host for host in targets if host.id != source.id and draft.fits(checks, host)), None)
    if target is not None:
        target_before = draft.spare[target.id]
        draft.put(loose, target.id)
        source_after, target_after = draft.spare[source.id], draft.spare[target.id]
        after = spread.replaced((source_before, target_before), (source_after, target_after))
        closer = 100 * (abs(target_before - source_before) - abs(target_after - source_after))
        gain = spread.deviation - after.deviation
        if gain > LEAST and closer >= least_gain:
            return Move(guest, source, target, gain), after
        loose = draft.put(loose, None)
    draft.put(loose, source.id)
    return None


def packed(world: World, most: int = 10) -> Plan:
    """Empties whole hosts into the others, the emptiest first, so that they can be switched off: half an evacuation saves nothing."""
    draft = Draft(world)
    hosts = [host for host in world.by_name if not host.out]
    before = imbalance(hosts, draft.spare)
    moves: list[Move] = []
    freed: list[HostView] = []
    for source in sorted(hosts, key=lambda host: -draft.spare[host.id]):
        guests = list(draft.guests_on[source.id].values())
        received = {move.target.id for move in moves}
        if not guests or source.id in received or len(moves) + len(guests) > most:
            continue
        others = [host for host in hosts if host.id != source.id and draft.guests_on[host.id]]
        emptied = _empty(draft, source, guests, others)
        if emptied:
            moves += emptied
            freed.append(source)
    return Plan(tuple(moves), before, imbalance(hosts, draft.spare), tuple(freed))


def _empty(draft: Draft, source: HostView, guests: list[Guest], others: list[HostView]) -> list[Move]:
    """All of its guests into the fullest others, or none of them."""
    done: list[Move] = []
    if all(guest.migratable for guest in guests):
        others.sort(key=lambda host: draft.spare[host.id])
        for guest in sorted(guests, key=lambda guest: (-guest.memory_mib, guest.id)):
            loose = draft.put(guest, None)
            checks = draft.checks(loose)
            target = next((host for host in others if draft.fits(checks, host)), None)
            if target is None:
                draft.put(loose, source.id)
                break
            draft.put(loose, target.id)
            done.append(Move(guest, source, target))
    if len(done) == len(guests):
        return done
    for move in done:
        draft.put(draft.guests_on[move.target.id][move.guest.id], source.id)
    return []
