"""Whether a silent host is fenced: a pure function over what is known of its cluster in one moment.

Switching off a machine that lives ends its guests; not switching off one that is dead leaves them down. So a host is fenced
only when nothing speaks for its being alive, and never several at once: a cluster whose hosts fall silent together
has rather lost its network.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Decision(StrEnum):
    NONE = ""  # there is nothing to decide: it answers, or is meant not to
    WAIT = "wait"  # not yet
    FENCE = "fence"
    OFF = "off"  # the cluster, or the host, is not to be fenced
    STORM = "storm"
    TURN = "turn"  # another host of the cluster is being fenced
    GUESTS = "guests"  # its guests answer
    WRITES = "writes"  # its guests write to their disks
    BUSY = "busy"
    AGAIN = "again"  # it failed, and is tried again later
    UNCLAIMED = "no agent"


# What an administrator hears of once: a host is down, and will not be helped without one.
ALERTS = frozenset({Decision.STORM, Decision.GUESTS, Decision.WRITES, Decision.OFF, Decision.UNCLAIMED})


@dataclass(frozen=True)
class Policy:
    """The cluster's. Args: kdump_seconds: left to a crashed kernel to write its memory down."""

    enabled: bool = True
    after_seconds: float = 60
    skip_percent: int = 50
    skip_if_guests_answer: bool = True
    skip_if_storage_written: bool = False
    kdump_seconds: float = 0


@dataclass(frozen=True)
class Machine:
    """One host as it is now.

    Args:
        silent_seconds: since when it has not answered.
        expected: it is in service, so silence of it is news.
        agents: how many fence agents it has.
        fencing: it is being fenced.
        retry_in: seconds before which a fencing that failed is not tried again.
        busy: title of the job that holds it.
    """

    id: UUID
    name: str
    silent: bool = False
    silent_seconds: float = 0
    expected: bool = True
    agents: int = 1
    enabled: bool = True
    fencing: bool = False
    retry_in: float = 0
    busy: str = ""


@dataclass(frozen=True)
class Signs:
    """What speaks for guests being alive on a host; None: not looked for yet."""

    answering: int | None = None
    written: tuple[str, ...] | None = None


def decide(policy: Policy, machines: tuple[Machine, ...], key: UUID, signs: Signs) -> tuple[Decision, str]:
    """Whether the host is fenced now, and why or why not, as a sentence.

    FENCE holds only for the signs that were looked for: whoever acts on it looks for all that the policy asks for.
    """
    host = next(machine for machine in machines if machine.id == key)
    if not host.expected or not (host.silent or host.fencing):
        return Decision.NONE, ""
    if refusal := _never(policy, host):
        return refusal
    if held := _storm(policy, machines):
        return Decision.STORM, held
    wait = policy.after_seconds + policy.kdump_seconds - host.silent_seconds
    if wait > 0:
        left = " A crashed kernel is left time to write its memory down." if policy.kdump_seconds else ""
        return Decision.WAIT, f"It is fenced when it has not answered for {policy.after_seconds + policy.kdump_seconds:g} s.{left}"
    if host.busy:
        return Decision.BUSY, f"It is busy: «{host.busy}» runs."
    if host.retry_in > 0:
        return Decision.AGAIN, "The last attempt could not be confirmed; it is tried again soon."
    if other := next((machine for machine in machines if machine.fencing and machine.id != key), None):
        return Decision.TURN, f"{other.name} is being fenced; one host of a cluster at a time."
    return _signs_of_life(policy, signs)


def _never(policy: Policy, host: Machine) -> tuple[Decision, str] | None:
    if not policy.enabled:
        return Decision.OFF, "Fencing is off in its cluster."
    if not host.agents:
        return Decision.UNCLAIMED, "It has no fence agent. If you know that it is off, confirm that by hand."
    if not host.enabled:
        return Decision.OFF, "Power management is off for this host."
    return None


def _storm(policy: Policy, machines: tuple[Machine, ...]) -> str:
    """Why nobody of the cluster is fenced now. One silent host beside another that answers is no storm, whatever its share."""
    expected = [machine for machine in machines if machine.expected]
    silent = [machine for machine in expected if machine.silent or machine.fencing]
    share = 100 * len(silent) / len(expected)
    if len(silent) == 1 and len(expected) > 1:
        return ""
    if len(silent) < len(expected) and share < policy.skip_percent:
        return ""
    who = "the cluster's only host does" if len(expected) == 1 else f"{len(silent)} of the cluster's {len(expected)} hosts do"
    return f"Nobody is fenced: {who} not answer, so rather the network between them and Vireo is at fault."


def _signs_of_life(policy: Policy, signs: Signs) -> tuple[Decision, str]:
    if policy.skip_if_guests_answer and signs.answering:
        one = signs.answering == 1
        return (
            Decision.GUESTS,
            f"{signs.answering} of its guests still answer{'s' if one else ''}: the machine lives, and only its libvirtd does not.",
        )
    if policy.skip_if_storage_written and signs.written:
        return Decision.WRITES, f"Its guests still write to their disks: {', '.join(signs.written[:5])}."
    return Decision.FENCE, "It does not answer, and nothing speaks for its being alive."
