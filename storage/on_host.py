"""Storage domains on one host, through libvirt. Called from jobs and the watcher's sweep; each call tells storage.observe what it saw."""

from collections.abc import Iterable

from hosts.connect import link_of
from hosts.models import Host, HostStatus
from hypervisor import storage as pools
from hypervisor.errors import HostUnreachable, HypervisorError, NotFound
from hypervisor.links import HostLink
from hypervisor.spec import PoolSpec
from jobs.errors import NotNow
from storage import observe
from storage.models import Disk, StorageDomain, StorageStatus

Look = tuple[StorageDomain, pools.PoolInfo | str]
_OUT_OF_USE = (StorageStatus.UNATTACHED, StorageStatus.MAINTENANCE, StorageStatus.PREPARING_FOR_MAINTENANCE)


def spec_of(domain: StorageDomain) -> PoolSpec:
    return PoolSpec(name=domain.pool_name, uuid=str(domain.pk), path=domain.path)


def in_use(host: Host) -> list[StorageDomain]:
    """The domains that the host should have."""
    return list(StorageDomain.objects.filter(data_center_id=host.cluster.data_center_id).exclude(status__in=_OUT_OF_USE))


def ensure(domain: StorageDomain, host: Host) -> str:
    """Makes the domain ready on the host.

    Returns:
        "" when it is; otherwise why this host cannot have it (storage.observe knows, too).

    Raises:
        HostUnreachable: that says nothing about the storage.
    """
    link = link_of(host)
    try:
        pools.ensure_pool(link, spec_of(domain))
        pools.refresh_pool(link, domain.pool_name)
        observe.seen(domain, host, pools.pool_info(link, domain.pool_name))
    except HostUnreachable:
        raise
    except HypervisorError as error:
        observe.failed(domain, host, str(error))
        return str(error)
    return ""


def release(domain: StorageDomain, host: Host) -> None:
    """Takes the domain off the host; its directory and files stay. Raises HypervisorError."""
    pools.remove_pool(link_of(host), domain.pool_name)
    observe.forgotten(domain, host)


def read(host: Host, domains: Iterable[StorageDomain]) -> list[Look]:
    """Asks the host, and not the database: each domain with its pool's space, or with what is wrong. Raises HostUnreachable."""
    link = link_of(host)
    found: list[Look] = []
    for domain in domains:
        try:
            found.append((domain, pools.pool_info(link, domain.pool_name)))
        except NotFound:
            found.append((domain, f"its pool {domain.pool_name} is gone from {host.name}; activate the domain to make it again"))
        except HostUnreachable:
            raise
        except HypervisorError as error:
            found.append((domain, str(error)))
    return found


def note(host: Host, found: Iterable[Look]) -> None:
    """Writes down what `read` found."""
    for domain, info in found:
        if isinstance(info, str):
            observe.failed(domain, host, info)
        else:
            observe.seen(domain, host, info)


def hosts_with(domain: StorageDomain) -> list[Host]:
    """Hosts that are up and have the domain active."""
    views = (
        domain.on_hosts.filter(status=StorageStatus.ACTIVE, host__status=HostStatus.UP)
        .select_related("host__cluster")
        .order_by("host__name")
    )
    return [view.host for view in views]


def link_for(disk: Disk) -> tuple[Host, HostLink]:
    """A host that can reach the disk's file: its own for a local domain, any for a shared one.

    Raises:
        NotNow: none that is up.
    """
    assert disk.domain is not None, "a foreign disk is not ours to touch"
    ready = hosts_with(disk.domain)
    for host in ready:
        if disk.host_id in (None, host.pk):
            return host, link_of(host)
    where = disk.host.name if disk.host else "any host that is up"
    raise NotNow(f"Storage domain {disk.domain.name} is not active on {where}.")
