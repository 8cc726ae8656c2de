"""What QEMU's guest agent tells and does, through libvirt. Everything that it says comes from a stranger: bounded here, cleaned by who keeps it."""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import libvirt
import libvirt_qemu

from .errors import InvalidState, OperationFailed
from .guests import AGENT_SECONDS, _optional, on_domain
from .links import HostLink

T = TypeVar("T")

# Freezing waits for the guest to write all it holds.
FREEZE_SECONDS = 60
MOST = 64
LONGEST_OUTPUT = 8192
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class GuestFilesystem:
    """A mounted filesystem; sizes in bytes, 0 where an old agent does not say."""

    mountpoint: str
    kind: str
    total_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class GuestNic:
    name: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class GuestUser:
    name: str
    since: datetime | None


@dataclass(frozen=True)
class GuestFacts:
    """What the agent tells of its guest; what it does not know stays empty."""

    hostname: str = ""
    os: str = ""
    kernel: str = ""
    time_zone: str = ""
    nics: tuple[GuestNic, ...] = ()
    filesystems: tuple[GuestFilesystem, ...] = ()
    users: tuple[GuestUser, ...] = ()


def use_vcpus(link: HostLink, uuid: str, count: int) -> None:
    """The guest brings so many of its CPUs online.

    Raises:
        AgentUnresponsive: no agent, or it does not answer.
    """
    on_domain(link, uuid, lambda domain: domain.setVcpusFlags(count, libvirt.VIR_DOMAIN_VCPU_GUEST), "bringing its CPUs online", AGENT_SECONDS + 5)


def guest_facts(link: HostLink, uuid: str) -> GuestFacts:
    """Ask for everything.

    Raises:
        AgentUnresponsive: no agent, or it does not answer within 5 s.
        InvalidState: the domain does not run.
    """

    def run(domain: libvirt.virDomain) -> GuestFacts:
        # One kind after the other: an agent without one of them (all but the first are younger than libvirt) still tells the rest.
        kinds = (
            libvirt.VIR_DOMAIN_GUEST_INFO_FILESYSTEM,
            libvirt.VIR_DOMAIN_GUEST_INFO_USERS,
            libvirt.VIR_DOMAIN_GUEST_INFO_TIMEZONE,
        )
        facts = dict(domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS | libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME, 0))
        for kind in kinds:
            facts |= _optional(lambda kind=kind: domain.guestInfo(kind, 0)) or {}  # type: ignore[misc]
        interfaces = _optional(lambda: domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0)) or {}
        return facts_from(facts, interfaces)

    return _asking(link, uuid, run, "asking the guest agent")


def facts_from(facts: Mapping[str, Any], interfaces: Mapping[str, Any]) -> GuestFacts:
    """libvirt's flat answer as a value; pure."""
    return GuestFacts(
        hostname=str(facts.get("hostname", "")),
        os=str(facts.get("os.pretty-name") or facts.get("os.name", "")),
        kernel=str(facts.get("os.kernel-release", "")),
        time_zone=str(facts.get("timezone.name", "")),
        nics=tuple(_nic(name, interface) for name, interface in sorted(interfaces.items())[:MOST] if name != "lo"),
        filesystems=tuple(
            GuestFilesystem(
                str(facts.get(f"{key}.mountpoint", "")),
                str(facts.get(f"{key}.fstype", "")),
                _number(facts.get(f"{key}.total-bytes")),
                _number(facts.get(f"{key}.used-bytes")),
            )
            for key in _entries(facts, "fs")
        ),
        users=tuple(
            GuestUser(str(facts.get(f"{key}.name", "")), _moment(facts.get(f"{key}.login-time"))) for key in _entries(facts, "user")
        ),
    )


def _entries(facts: Mapping[str, Any], kind: str) -> list[str]:
    return [f"{kind}.{index}" for index in range(min(_number(facts.get(f"{kind}.count")), MOST))]


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else 0


def _moment(milliseconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(_number(milliseconds) / 1000, UTC) if _number(milliseconds) else None
    except (OverflowError, ValueError, OSError):
        return None


def _nic(name: str, interface: Mapping[str, Any]) -> GuestNic:
    addresses = tuple(f"{entry.get('addr', '')}/{_number(entry.get('prefix'))}" for entry in (interface.get("addrs") or ())[:MOST])
    return GuestNic(name, str(interface.get("hwaddr") or ""), addresses)


def _asking(link: HostLink, uuid: str, fn: Callable[[libvirt.virDomain], T], what: str, seconds: int = AGENT_SECONDS) -> T:
    """Runs `fn` on a running domain whose agent has this long for each answer."""

    def run(domain: libvirt.virDomain) -> T:
        if not domain.isActive():
            raise InvalidState(f"{domain.name()} does not run")
        _optional(lambda: domain.agentSetResponseTimeout(seconds, 0))
        try:
            return fn(domain)
        finally:
            if seconds != AGENT_SECONDS:
                _optional(lambda: domain.agentSetResponseTimeout(AGENT_SECONDS, 0))

    return on_domain(link, uuid, run, what, timeout=4.0 * seconds)


def set_time(link: HostLink, uuid: str, at: datetime) -> None:
    """Set the guest's clock."""
    moment = {"seconds": int(at.timestamp()), "nseconds": at.microsecond * 1000}
    _asking(link, uuid, lambda domain: domain.setTime(moment, 0), "setting the guest's clock")


def set_password(link: HostLink, uuid: str, account: str, password: str, *, hashed: bool = False) -> None:
    """Set a password of an account in the guest.

    Args:
        hashed: `password` is a crypt(3) hash, which Linux takes and Windows does not.
    """
    flags = libvirt.VIR_DOMAIN_PASSWORD_ENCRYPTED if hashed else 0
    _asking(link, uuid, lambda domain: domain.setUserPassword(account, password, flags), "setting a password in the guest")


def freeze(link: HostLink, uuid: str) -> int:
    """Have the guest write everything and hold all further writing; how many filesystems it froze."""
    return _asking(link, uuid, lambda domain: domain.fsFreeze(), "freezing the guest's filesystems", FREEZE_SECONDS)


def thaw(link: HostLink, uuid: str) -> int:
    """Let the guest write again; one that is not frozen is fine."""
    return _asking(link, uuid, lambda domain: domain.fsThaw(), "thawing the guest's filesystems", FREEZE_SECONDS)


def execute(link: HostLink, uuid: str, path: str, arguments: Sequence[str] = (), seconds: float = 60) -> tuple[int, str]:
    """Run a program in the guest: its exit code, and what it said, at most 8 KiB.

    Raises:
        OperationFailed: the agent refuses to run programs, the program is not there, or it took longer.
    """

    def ask(command: str, **values: Any) -> dict[str, Any]:
        text = json.dumps({"execute": command, "arguments": values})
        answer = on_domain(
            link, uuid, lambda domain: libvirt_qemu.qemuAgentCommand(domain, text, AGENT_SECONDS, 0), f"running {path}", 3.0 * AGENT_SECONDS
        )
        found = json.loads(answer)["return"]
        return found if isinstance(found, dict) else {}

    pid = ask("guest-exec", **{"path": path, "arg": list(arguments), "capture-output": True}).get("pid")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = ask("guest-exec-status", pid=pid)
        if status.get("exited"):
            return _number(status.get("exitcode")), _output(status)
        time.sleep(_POLL_SECONDS)
    raise OperationFailed(f"{path} did not end within {seconds:.0f} seconds")


def _output(status: Mapping[str, Any]) -> str:
    data = f"{status.get('out-data', '')}{status.get('err-data', '')}"[: LONGEST_OUTPUT * 2]
    try:
        return base64.b64decode(data).decode(errors="replace")[:LONGEST_OUTPUT]
    except ValueError:
        return ""
