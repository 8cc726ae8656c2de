"""The snapshot that the scheduler works on: hosts, guests, affinity and a policy, as frozen values without a database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

# Left to the host itself, and what QEMU takes beside a guest's own memory, in MiB.
RESERVED_MIB = 512
OVERHEAD_MIB = 64


@dataclass(frozen=True, kw_only=True)
class HostView:
    """A host as the scheduler sees it.

    Args:
        memory_mib, cpus: what it has; 0 when unknown, and then not judged.
        out: why it takes no guests ("it is in maintenance"), empty when it does.
        cpu_models: the models that libvirt found usable there; None when it was not asked.
        storage, networks: ids of what is active there.
        labels: free words, for guests that ask for them.
        devices: assignable devices that nobody has.
        hugepages_mib: free memory in huge pages.
        cpu_percent: how busy it is now, 0 to 100.
    """

    id: str
    name: str
    memory_mib: int = 0
    cpus: int = 0
    out: str = ""
    cpu_models: frozenset[str] | None = None
    storage: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    hugepages_mib: int = 0
    cpu_percent: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A VM as the scheduler sees it.

    Args:
        host: id of the host that it runs on or is promised to, None when it is down.
        guaranteed_mib: memory that it keeps when the host is short; 0: all of it.
        only: the hosts that it may run on at all (local disks, pinning); None: any.
        migratable: whether balancing may move it.
        priority: 0 to 100; higher is placed first, and moved last.
        needs_*: ids or words that its host must have.
    """

    id: str
    name: str
    host: str | None = None
    memory_mib: int = 0
    guaranteed_mib: int = 0
    vcpus: int = 1
    priority: int = 50
    highly_available: bool = False
    migratable: bool = True
    cpu_model: str = ""
    only: frozenset[str] | None = None
    only_why: str = ""
    needs_storage: Mapping[str, str] = field(default_factory=dict)
    needs_networks: Mapping[str, str] = field(default_factory=dict)
    needs_labels: frozenset[str] = frozenset()
    needs_devices: frozenset[str] = frozenset()
    hugepages: bool = False

    @property
    def promised_mib(self) -> int:
        return (self.guaranteed_mib or self.memory_mib) + OVERHEAD_MIB

    @property
    def claimed_mib(self) -> int:
        return self.memory_mib + OVERHEAD_MIB


@dataclass(frozen=True, kw_only=True)
class Affinity:
    """Guests that belong together (`positive`), or apart. A hard one is never broken; a soft one costs."""

    name: str
    members: frozenset[str]
    positive: bool
    hard: bool = True


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a cluster wants its guests spread.

    Args:
        weights: name in weights.WEIGHTS -> factor; none: the first host by name.
        memory_overcommit: percent of a host's memory that guests may claim; what they are guaranteed always fits.
        cpu_overcommit: virtual CPUs for each of the host's, 0: no limit.
        spare_hosts: so many hosts may fail, and its highly available guests still fit.
    """

    name: str = "none"
    weights: Mapping[str, float] = field(default_factory=dict)
    memory_overcommit: int = 100
    cpu_overcommit: float = 0.0
    spare_hosts: int = 0


@dataclass
class Load:
    """What is promised on a host."""

    claimed_mib: int = 0
    promised_mib: int = 0
    vcpus: int = 0
    guests: int = 0
    priority: int = 0
    hugepages_mib: int = 0

    def add(self, guest: Guest, sign: int = 1) -> None:
        self.claimed_mib += sign * guest.claimed_mib
        self.promised_mib += sign * guest.promised_mib
        self.vcpus += sign * guest.vcpus
        self.guests += sign
        self.priority += sign * guest.priority
        self.hugepages_mib += sign * (guest.memory_mib if guest.hugepages else 0)


def left_on(host: HostView, load: Load, policy: Policy) -> tuple[int, int]:
    """Memory in MiB that is left to guarantee, and that is left to claim with overcommit."""
    room = host.memory_mib - RESERVED_MIB
    return room - load.promised_mib, room * policy.memory_overcommit // 100 - load.claimed_mib


def spare_on(host: HostView, load: Load) -> float:
    """The share of its memory, or of its CPUs when these are shorter, that is left; 0 to 1."""
    memory = load.claimed_mib / (host.memory_mib - RESERVED_MIB) if host.memory_mib > RESERVED_MIB else 0.0
    cpus = max(load.vcpus / host.cpus if host.cpus else 0.0, host.cpu_percent / 100)
    return max(0.0, 1 - max(memory, min(1.0, cpus)))


@dataclass(frozen=True, kw_only=True)
class World:
    """A cluster at one moment."""

    hosts: tuple[HostView, ...]
    guests: tuple[Guest, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    policy: Policy = Policy()

    @cached_property
    def loads(self) -> dict[str, Load]:
        """By host id. Read only: `with_moves` makes another world."""
        found = {host.id: Load() for host in self.hosts}
        for guest in self.guests:
            if guest.host in found:
                found[guest.host].add(guest)
        return found

    @cached_property
    def memory_left(self) -> dict[str, tuple[int, int]]:
        """By host id, in MiB: left to guarantee, and left to claim with overcommit. Hosts of unknown memory are not in it."""
        return {host.id: left_on(host, self.loads[host.id], self.policy) for host in self.hosts if host.memory_mib}

    @cached_property
    def spare(self) -> dict[str, float]:
        """By host id: see `spare_on`."""
        return {host.id: spare_on(host, self.loads[host.id]) for host in self.hosts}

    @cached_property
    def by_name(self) -> tuple[HostView, ...]:
        return tuple(sorted(self.hosts, key=lambda host: (host.name, host.id)))

    @cached_property
    def host_of(self) -> dict[str, str]:
        """Guest id -> host id, of those that run."""
        return {guest.id: guest.host for guest in self.guests if guest.host is not None}

    @cached_property
    def name_of(self) -> dict[str, str]:
        return {guest.id: guest.name for guest in self.guests}

    @cached_property
    def affinities_of(self) -> dict[str, tuple[Affinity, ...]]:
        """Guest id -> its groups."""
        found: dict[str, list[Affinity]] = {}
        for affinity in self.affinities:
            for member in affinity.members:
                found.setdefault(member, []).append(affinity)
        return {member: tuple(groups) for member, groups in found.items()}

    def without(self, guest: Guest) -> "World":
        """The same without this guest's own claim, to place it anew."""
        return replace(self, guests=tuple(each for each in self.guests if each.id != guest.id)) if guest.id in self.host_of else self

    def with_moves(self, moves: Iterable[tuple[str, str]]) -> "World":
        """After these (guest id, host id)."""
        target = dict(moves)
        return replace(self, guests=tuple(replace(each, host=target[each.id]) if each.id in target else each for each in self.guests))
