"""A world in which guests are moved about to try a plan. It belongs to the plan that made it, and alone is ever changed."""

from dataclasses import replace

from hosts.scheduling.filters import FILTERS, Check
from hosts.scheduling.world import Guest, HostView, World, left_on, spare_on


class Draft:
    """Args: world: is copied; the copy's figures follow each `put`, at the cost of two hosts and not of all."""

    def __init__(self, world: World) -> None:
        self.world = replace(world)
        self.hosts = {host.id: host for host in self.world.hosts}
        # Read once, so that they are there to be kept true from here on.
        self._loads, self._left, self._spare, self._host_of = (
            self.world.loads,
            self.world.memory_left,
            self.world.spare,
            self.world.host_of,
        )
        self.guests_on: dict[str, dict[str, Guest]] = {host.id: {} for host in self.world.hosts}
        for guest in self.world.guests:
            if guest.host in self.guests_on:
                self.guests_on[guest.host][guest.id] = guest

    @property
    def spare(self) -> dict[str, float]:
        return self._spare

    def put(self, guest: Guest, host_id: str | None) -> Guest:
        """Places the guest there (None: nowhere); the guest as it then is."""
        before = self._host_of.pop(guest.id, None)
        if before in self.guests_on:
            del self.guests_on[before][guest.id]
            self._loads[before].add(guest, -1)
            self._refresh(before)
        placed = replace(guest, host=host_id)
        if host_id is not None:
            self._host_of[guest.id] = host_id
            self.guests_on[host_id][guest.id] = placed
            self._loads[host_id].add(placed)
            self._refresh(host_id)
        return placed

    def checks(self, guest: Guest) -> list[Check]:
        """The filters for a guest that is nowhere now: `put(guest, None)` first."""
        return [check for make in FILTERS.values() if (check := make(self.world, guest)) is not None]

    def fits(self, checks: list[Check], host: HostView) -> bool:
        return not any(check(host) for check in checks)

    def _refresh(self, host_id: str) -> None:
        host, load = self.hosts[host_id], self._loads[host_id]
        self._spare[host_id] = spare_on(host, load)
        if host_id in self._left:
            self._left[host_id] = left_on(host, load, self.world.policy)
