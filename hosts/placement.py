"""Which host: the one that is up, has room, and has most memory left. A pure choice over rows read once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, Sum

from hosts.models import Cluster, Host, HostStatus
from portal.errors import NotPossible

# Left to the host itself. A VM also costs QEMU's own memory.
RESERVED_BYTES = 512 << 20
OVERHEAD_BYTES = 64 << 20


@dataclass(frozen=True)
class Candidate:
    """A host with what is promised on it.

    Args:
        committed_bytes: memory of the VMs that run there.
        storage: ids of the storage domains that are active there.
    """

    host: Host
    committed_bytes: int
    storage: frozenset[UUID] = frozenset()

    @property
    def free_bytes(self) -> int:
        return self.host.memory_bytes - RESERVED_BYTES - self.committed_bytes


def refusal(candidate: Candidate, memory_mib: int, vcpus: int, only: Host | None, storage: dict[UUID, str] | None = None) -> str:
    """Why the host cannot take such a VM; empty when it can."""
    host = candidate.host
    if only is not None and host.pk != only.pk:
        return f"its disks lie on {only.name}"
    if host.status != HostStatus.UP:
        return f"it is {host.get_status_display().lower()}"
    if missing := [name for key, name in (storage or {}).items() if key not in candidate.storage]:
        return f"storage domain {missing[0]} is not active there"
    if host.memory_bytes and candidate.free_bytes < (memory_mib << 20) + OVERHEAD_BYTES:
        return f"it has {max(0, candidate.free_bytes) >> 20} MiB left of the {memory_mib} MiB asked for"
    return ""


def pick(cluster: Cluster, memory_mib: int, vcpus: int, only: Host | None = None, storage: Iterable[Any] = ()) -> Host:
    """The host for a VM.

    Args:
        only: the one host that has its local disks, if it has any.
        storage: the storage domains that it needs.

    Raises:
        NotPossible: none can take it; the text names each host and why not.
    """
    not_down = ~Q(vms__status="down")
    running = dict(Host.objects.filter(cluster=cluster).annotate(mib=Sum("vms__memory_mib", filter=not_down)).values_list("pk", "mib"))
    needed = {domain.pk: domain.name for domain in storage}
    active: dict[UUID, set[UUID]] = {}
    if needed:
        views = Host.objects.filter(cluster=cluster, storage_domains__domain__in=needed, storage_domains__status="active")
        for host_id, domain_id in views.values_list("pk", "storage_domains__domain"):
            active.setdefault(host_id, set()).add(domain_id)
    candidates = [
        Candidate(host, (running.get(host.pk) or 0) << 20, frozenset(active.get(host.pk, ())))
        for host in Host.objects.filter(cluster=cluster).order_by("name")
    ]
    refused = {candidate.host.name: refusal(candidate, memory_mib, vcpus, only, needed) for candidate in candidates}
    fitting = [candidate for candidate in candidates if not refused[candidate.host.name]]
    if not fitting:
        why = "; ".join(f"{name}: {reason}" for name, reason in refused.items()) or "it has no hosts"
        raise NotPossible(f"No host of cluster {cluster.name} can run this VM ({why}).")
    return max(fitting, key=lambda candidate: candidate.free_bytes).host
