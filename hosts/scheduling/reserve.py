"""How many hosts a cluster can lose with all of its highly available guests running again."""

from dataclasses import dataclass, replace

from hosts.scheduling.draft import Draft
from hosts.scheduling.world import Guest, HostView, World


@dataclass(frozen=True)
class Reserve:
    """Args: hosts: how many it can lose. broken_by: the hosts whose loss would be one too many. left_out: who would then not run again."""

    hosts: int
    broken_by: tuple[HostView, ...] = ()
    left_out: tuple[Guest, ...] = ()


def can_lose(world: World, most: int = 16) -> Reserve:
    """Takes the hosts with most highly available memory: who survives losing those survives losing others.

    With unequal rules (affinity, pinning) another set of as many hosts may be worse; then a host is lost that this did not foresee,
    and the guests that do not fit stay down with the reason.
    """
    at_risk: dict[str, int] = {host.id: 0 for host in world.hosts}
    for guest in world.guests:
        if guest.highly_available and guest.host in at_risk:
            at_risk[guest.host] += guest.claimed_mib
    alive = sorted((host for host in world.by_name if not host.out), key=lambda host: -at_risk[host.id])
    for count in range(1, min(most, len(alive)) + 1):
        lost = alive[:count]
        if left_out := not_restarted(world, lost):
            return Reserve(count - 1, tuple(lost), tuple(left_out))
    return Reserve(min(most, len(alive)))


def not_restarted(world: World, lost: list[HostView]) -> list[Guest]:
    """The highly available guests of these hosts that would find no place, the important first."""
    gone = {host.id for host in lost}
    victims = [guest for guest in world.guests if guest.host in gone and guest.highly_available]
    survivors = tuple(guest for guest in world.guests if guest.host not in gone)
    hosts = tuple(replace(host, out="it is lost") if host.id in gone else host for host in world.hosts)
    draft = Draft(replace(world, hosts=hosts, guests=survivors))
    left_out = []
    for guest in sorted(victims, key=lambda guest: (-guest.priority, -guest.memory_mib, guest.id)):
        loose = replace(guest, host=None)
        checks = draft.checks(loose)
        emptiest = sorted(hosts, key=lambda host: -draft.spare[host.id])
        target = next((host for host in emptiest if draft.fits(checks, host)), None)
        if target is None:
            left_out.append(guest)
        else:
            draft.put(loose, target.id)
    return left_out
