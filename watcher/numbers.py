"""From counters of one host and its domains to the values that charts show."""

from collections.abc import Sequence
from uuid import UUID

from hypervisor import stats
from hypervisor.domain_state import DomainState
from hypervisor.stats import DomainSample, HostSample

Values = dict[str, float | None]

_ACTIVE = frozenset({DomainState.RUNNING, DomainState.BLOCKED, DomainState.PAUSED, DomainState.SHUTDOWN})


class Numbers:
    """Remembers one host's last sample. Not shared between threads at the same time."""

    def __init__(self, host_id: UUID) -> None:
        self._host_topic = f"host:{host_id}"
        self._domains: dict[str, DomainSample] = {}
        self._host: HostSample | None = None

    def forget(self) -> None:
        """After a gap: a rate over it would be an average that nobody asked for."""
        self._domains, self._host = {}, None

    def take(self, host: HostSample | None, samples: Sequence[DomainSample]) -> dict[str, Values]:
        """The values since the last sample, by "vm:<id>" and "host:<id>"; domains that do not run have none."""
        active = {sample.uuid: sample for sample in samples if sample.state in _ACTIVE}
        values: dict[str, Values] = {}
        for uuid, current in active.items():
            previous = self._domains.get(uuid)
            if previous is not None:
                values[f"vm:{UUID(uuid)}"] = _of_vm(stats.rates(previous, current), current)
        if host is not None and self._host is not None:
            rates = stats.host_rates(self._host, host)
            values[self._host_topic] = {"cpu_percent": rates.cpu_percent, "memory_bytes": rates.memory_used}
        self._domains, self._host = active, host
        return {topic: found for topic, found in values.items() if any(value is not None for value in found.values())}


def _of_vm(rates: stats.DomainRates, sample: DomainSample) -> Values:
    used = rates.memory_bytes  # what QEMU takes on the host, unless the guest's balloon driver tells what the guest uses
    if sample.balloon_bytes is not None and sample.guest_unused_bytes is not None:
        used = max(0, sample.balloon_bytes - sample.guest_unused_bytes)
    return {
        "cpu_percent": rates.cpu_percent,
        "memory_bytes": used,
        "disk_read_bps": rates.disk_rd_bps,
        "disk_write_bps": rates.disk_wr_bps,
        "net_rx_bps": rates.net_rx_bps,
        "net_tx_bps": rates.net_tx_bps,
    }
