"""Storage domains on one host, through libvirt. Called from jobs and the watcher's sweep; each call tells storage.observe what it saw."""

from base64 import b64decode
from collections.abc import Iterable

from hosts.connect import link_of
from hosts.models import Host, HostStatus
from hypervisor import secrets
from hypervisor import storage as pools
from hypervisor.errors import HostUnreachable, HypervisorError, NotFound
from hypervisor.links import HostLink
from jobs.errors import NotNow
from portal.secrets import decrypt
from storage import observe
from storage.looks import pace
from storage.models import Disk, StorageDomain, StorageKind, StorageStatus
from storage.sources import pool_of

LOOK_SECONDS = 20.0
Look = tuple[StorageDomain, pools.PoolInfo | str]
_OUT_OF_USE = (StorageStatus.UNATTACHED, StorageStatus.MAINTENANCE, StorageStatus.PREPARING_FOR_MAINTENANCE)


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
        _give_secret(link, domain)
        pools.ensure_pool(link, pool_of(domain))
        pools.glance(link, domain.pool_name)
        observe.seen(domain, host, pools.pool_info(link, domain.pool_name))
    except HostUnreachable:
        raise
    except HypervisorError as error:
        observe.failed(domain, host, str(error))
        return str(error)
    return ""


def _give_secret(link: HostLink, domain: StorageDomain) -> None:
    if domain.secret:
        usage = "iscsi" if domain.kind == StorageKind.ISCSI else "ceph"
        value = decrypt(domain.secret)
        # Ceph's keys are base64 text of the bytes that libvirt wants.
        secrets.set_secret(link, str(domain.pk), usage, domain.pool_name, b64decode(value) if usage == "ceph" else value.encode())


def release(domain: StorageDomain, host: Host) -> None:
    """Takes the domain off the host; its directory and files stay. Raises HypervisorError."""
    withdraw(domain, host)
    observe.forgotten(domain, host)


def withdraw(domain: StorageDomain, host: Host) -> None:
    """Removes pool and secret; what the host last said of the domain is kept. Raises HypervisorError."""
    link = link_of(host)
    pools.remove_pool(link, domain.pool_name)
    if domain.secret:
        secrets.remove_secret(link, str(domain.pk))


def read(host: Host, domains: Iterable[StorageDomain]) -> list[Look]:
    """Asks the host, and not the database: each domain with its pool's space, or with what is wrong. Raises HostUnreachable.

    The storage itself is asked no more often than storage.looks allows; between that, libvirt says what it remembers.
    """
    link = link_of(host)
    found: list[Look] = []
    for domain in domains:
        try:
            if pace.is_due((host.pk, domain.pk)):
                with pace.timed((host.pk, domain.pk)):
                    info = pools.look_at_pool(link, pool_of(domain), LOOK_SECONDS)
            else:
                info = pools.pool_info(link, domain.pool_name)
            found.append((domain, info))
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
