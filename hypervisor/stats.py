"""Counters of a host and its domains in one call, and rates from the difference of two."""

import time
from dataclasses import dataclass
from typing import Any

import libvirt

from .domain_state import DomainState, words
from .errors import NotSupported, translate
from .links import HostLink

SAMPLE_SECONDS = 10.0
_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
# A domain whose QEMU is busy gives what libvirt knows by itself, instead of holding up all the others.
_NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


@dataclass(frozen=True)
class DomainSample:
    """Counters since the domain's start; None where the driver has no such number.

    Args:
        at: seconds of a clock that only goes forward, of this process.
        memory_bytes: what its QEMU takes on the host, or what the balloon leaves the guest when that is unknown.
        balloon_bytes, memory_max_bytes: memory of the guest now and at most.
        guest_unused_bytes, guest_usable_bytes: as the guest's balloon driver tells.
    """

    uuid: str
    at: float
    state: DomainState
    reason: str = ""
    cpu_ns: int | None = None
    vcpus: int | None = None
    memory_bytes: int | None = None
    balloon_bytes: int | None = None
    memory_max_bytes: int | None = None
    guest_unused_bytes: int | None = None
    guest_usable_bytes: int | None = None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None
    disk_rd_bytes: int | None = None
    disk_wr_bytes: int | None = None
    disk_rd_reqs: int | None = None
    disk_wr_reqs: int | None = None


@dataclass(frozen=True)
class HostSample:
    """Counters of the host: time of all its CPUs together in ns, memory in bytes; None where unknown."""

    at: float
    cpu_idle_ns: int | None = None
    cpu_user_ns: int | None = None
    cpu_system_ns: int | None = None
    cpu_iowait_ns: int | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    memory_cached: int | None = None


@dataclass(frozen=True)
class DomainRates:
    """What happened a second between two samples; None where a counter is missing or went back (a restart).

    Args:
        cpu_percent: 0..100 of all its virtual CPUs.
        memory_percent: used by the guest, of what it has; None without a balloon driver in the guest.
    """

    uuid: str
    at: float
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    memory_percent: float | None = None
    net_rx_bps: float | None = None
    net_tx_bps: float | None = None
    disk_rd_bps: float | None = None
    disk_wr_bps: float | None = None
    disk_rd_iops: float | None = None
    disk_wr_iops: float | None = None


@dataclass(frozen=True)
class HostRates:
    """cpu_percent 0..100 of all CPUs; memory in bytes."""

    at: float
    cpu_percent: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None


def sample(link: HostLink) -> tuple[HostSample | None, list[DomainSample]]:
    """Counters now: two or three calls, however many domains. The host's part is None where its driver has none."""

    def read(connection: libvirt.virConnect) -> tuple[HostSample | None, list[DomainSample]]:
        host = _host_sample(connection)
        rows = _rows(connection)
        at = time.monotonic()
        return host, [_domain_sample(domain.UUIDString(), at, counters) for domain, counters in rows]

    return link.call(read, timeout=SAMPLE_SECONDS, what="reading statistics")


def _rows(connection: libvirt.virConnect) -> list[tuple[libvirt.virDomain, dict[str, Any]]]:
    for groups, flags in ((_GROUPS, _NOWAIT), (_GROUPS, 0), (0, 0)):
        try:
            return connection.getAllDomainStats(groups, flags)
        except libvirt.libvirtError as error:
            if not isinstance(translate(error), NotSupported):
                raise
    return []


def _host_sample(connection: libvirt.virConnect) -> HostSample | None:
    cpu: dict[str, int] = {}
    memory: dict[str, int] = {}
    try:
        cpu = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
        memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError as error:
        if not isinstance(translate(error), NotSupported):
            raise
    if not cpu and not memory:
        return None

    def in_bytes(name: str) -> int | None:
        return memory[name] * 1024 if name in memory else None

    cached = None if "cached" not in memory else (memory["cached"] + memory.get("buffers", 0)) * 1024
    return HostSample(
        at=time.monotonic(),
        cpu_idle_ns=cpu.get("idle"),
        cpu_user_ns=cpu.get("user"),
        cpu_system_ns=cpu.get("kernel"),
        cpu_iowait_ns=cpu.get("iowait"),
        memory_total=in_bytes("total"),
        memory_free=in_bytes("free"),
        memory_cached=cached,
    )


def _domain_sample(uuid: str, at: float, counters: dict[str, Any]) -> DomainSample:
    state, reason = words(counters.get("state.state", 0), counters.get("state.reason", 0))

    def total(group: str, counter: str) -> int | None:
        values = [counters.get(f"{group}.{index}.{counter}") for index in range(counters.get(f"{group}.count", 0))]
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    def kib(name: str) -> int | None:
        return counters[name] * 1024 if name in counters else None

    rss, balloon = kib("balloon.rss"), kib("balloon.current")
    return DomainSample(
        uuid=uuid,
        at=at,
        state=state,
        reason=reason,
        cpu_ns=counters.get("cpu.time"),
        vcpus=counters.get("vcpu.current"),
        memory_bytes=rss if rss is not None else balloon,
        balloon_bytes=balloon,
        memory_max_bytes=kib("balloon.maximum"),
        guest_unused_bytes=kib("balloon.unused"),
        guest_usable_bytes=kib("balloon.usable"),
        net_rx_bytes=total("net", "rx.bytes"),
        net_tx_bytes=total("net", "tx.bytes"),
        disk_rd_bytes=total("block", "rd.bytes"),
        disk_wr_bytes=total("block", "wr.bytes"),
        disk_rd_reqs=total("block", "rd.reqs"),
        disk_wr_reqs=total("block", "wr.reqs"),
    )


def _per_second(before: int | None, now: int | None, seconds: float) -> float | None:
    if before is None or now is None or now < before or seconds <= 0:
        return None
    return (now - before) / seconds


def rates(previous: DomainSample, current: DomainSample) -> DomainRates:
    """Rates between two samples of one domain.

    Raises:
        ValueError: the samples are of two domains.
    """
    if previous.uuid != current.uuid:
        raise ValueError("samples of two domains")
    seconds = current.at - previous.at

    def rate(name: str) -> float | None:
        return _per_second(getattr(previous, name), getattr(current, name), seconds)

    cpu = rate("cpu_ns")
    percent = None if cpu is None else min(100.0, cpu / 1e9 / (current.vcpus or 1) * 100)
    usable = current.guest_usable_bytes if current.guest_usable_bytes is not None else current.guest_unused_bytes
    used = None
    if usable is not None and current.balloon_bytes:
        used = min(100.0, max(0.0, 100 * (1 - usable / current.balloon_bytes)))
    return DomainRates(
        uuid=current.uuid,
        at=current.at,
        cpu_percent=percent,
        memory_bytes=current.memory_bytes,
        memory_percent=used,
        net_rx_bps=rate("net_rx_bytes"),
        net_tx_bps=rate("net_tx_bytes"),
        disk_rd_bps=rate("disk_rd_bytes"),
        disk_wr_bps=rate("disk_wr_bytes"),
        disk_rd_iops=rate("disk_rd_reqs"),
        disk_wr_iops=rate("disk_wr_reqs"),
    )


def host_rates(previous: HostSample, current: HostSample) -> HostRates:
    """CPU use between two samples of one host, and its memory now."""
    names = ("cpu_idle_ns", "cpu_user_ns", "cpu_system_ns", "cpu_iowait_ns")
    spent = [_per_second(getattr(previous, name), getattr(current, name), 1.0) for name in names]
    known = [value for value in spent if value is not None]
    total = sum(known)
    idle = (spent[0] or 0.0) + (spent[3] or 0.0)
    percent = 100 * (1 - idle / total) if spent[0] is not None and total > 0 else None
    used = None
    if current.memory_total is not None and current.memory_free is not None:
        used = max(0, current.memory_total - current.memory_free - (current.memory_cached or 0))
    return HostRates(current.at, percent, used, current.memory_total)
