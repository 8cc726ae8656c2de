"""What a host's inbox holds beside libvirt's events: the results of asking the host."""

from dataclasses import dataclass
from datetime import datetime

from hypervisor.capabilities import HostCapabilities
from hypervisor.domains import DomainRecord
from hypervisor.events import Event
from hypervisor.guest_agent import GuestFacts
from hypervisor.guests import AgentInfo
from storage.on_host import Look


@dataclass(frozen=True)
class Answered:
    """The host was asked after it had come up; without `facts` its driver cannot say what it is."""

    facts: HostCapabilities | None


@dataclass(frozen=True)
class Listed:
    """All domains of the host, as they were at some moment after `began`."""

    records: tuple[DomainRecord, ...]
    began: datetime


@dataclass(frozen=True)
class StorageSeen:
    """The space and state of the host's storage domains."""

    found: tuple[Look, ...]


@dataclass(frozen=True)
class AgentSaid:
    """What a guest tells of itself."""

    uuid: str
    info: AgentInfo


@dataclass(frozen=True)
class Sweep:
    """Compare everything with the host."""


@dataclass(frozen=True)
class GuestReported:
    """All that a guest's agent knows."""

    uuid: str
    facts: GuestFacts


Item = Event | Answered | Listed | StorageSeen | AgentSaid | GuestReported | Sweep
