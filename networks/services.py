"""The verbs on logical networks."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from hosts.models import Cluster
from jobs import engine
from jobs.engine import holder_of
from jobs.models import Job
from networks import can
from networks.models import Forward, Network
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name

EDITABLE = frozenset({"name", "description", "forward", "cidr"})
# Room for the gateway and a guest at least; and no DHCP range larger than dnsmasq's default limits bear well.
LONGEST_PREFIX, SHORTEST_PREFIX = 29, 16


@dataclass(frozen=True, kw_only=True)
class NewNetwork:
    """What is asked for when a network is made.

    Args:
        forward: of networks.models.Forward.
        cidr: IPv4, e.g. "192.168.150.0/24"; the gateway takes the first address, DHCP the rest.
    """

    name: str
    cluster: Cluster
    forward: str = Forward.NAT
    cidr: str = "192.168.150.0/24"
    description: str = ""


def create(user: User, new: NewNetwork) -> tuple[Network, Job]:
    """Makes the network; the job `network.create` defines it on every host of the cluster that is up.

    Raises:
        PermissionDenied, FieldError: name taken, addresses wrong or used by another network of the cluster.
    """
    require(user, "network.create", new.cluster)
    network = Network(
        name=valid_name(new.name),
        cluster=new.cluster,
        forward=_valid_forward(new.forward),
        cidr=valid_cidr(new.cidr),
        description=new.description.strip(),
    )
    _check_unique(network)
    with transaction.atomic():
        _save(network, force_insert=True)
        publish("network", network.pk, "added", network.rev)
        record("network.created", f"Network {network.name} ({network.cidr}) was created", obj=network, user=user)
        return network, engine.submit("network.create", user=user, target=network, title=f"Create network {network.name}", locks=[network])


def edit(user: User, network: Network, changes: Mapping[str, Any]) -> tuple[Network, Job | None]:
    """Changes the row; new addresses or another forwarding are applied to the hosts by a job.

    Args:
        changes: of EDITABLE.

    Raises:
        PermissionDenied, FieldError, NotPossible: addresses or forwarding of a network that VMs use.
    """
    require(user, "network.edit", network)
    unknown = changes.keys() - EDITABLE
    if unknown:
        raise FieldError(sorted(unknown)[0], "This cannot be changed.")
    clean = dict(changes)
    for field, check in (("name", valid_name), ("cidr", valid_cidr), ("forward", _valid_forward), ("description", str.strip)):
        if field in clean:
            clean[field] = check(clean[field])
    changed = {field: value for field, value in clean.items() if getattr(network, field) != value}
    reaches_hosts = bool(changed.keys() & {"cidr", "forward"})
    if reaches_hosts:
        _ensure("apply", network)
        running = network.nics.exclude(vm__status="down").count()
        if running:
            raise NotPossible(
                f"{running} running VM{'s use' if running > 1 else ' uses'} {network.name}: its addresses and forwarding can change only while none does."
            )
    if not changed:
        return network, None
    change = audit.Change(audit.snapshot(network, *changed), changed)
    for field, value in changed.items():
        setattr(network, field, value)
    _check_unique(network)
    network.rev += 1
    with transaction.atomic():
        _save(network)
        publish("network", network.pk, "changed", network.rev)
        record("network.edited", f"Network {network.name} was changed: {', '.join(sorted(changed))}", obj=network, user=user, change=change)
        return network, _submit_apply(user, network) if reaches_hosts else None


def apply(user: User, network: Network) -> Job:
    """Defines and starts the network again on every host that is up: repairs what was changed there."""
    require(user, "network.edit", network)
    _ensure("apply", network)
    return _submit_apply(user, network)


def remove(user: User, network: Network) -> Job:
    """Removes the network from every host, then from Vireo. Raises NotPossible while NICs are on it."""
    require(user, "network.delete", network)
    _ensure("remove", network)
    return engine.submit("network.remove", user=user, target=network, title=f"Remove network {network.name}", locks=[network])


def valid_cidr(text: str, field: str = "cidr") -> str:
    """The IPv4 network in one spelling. Raises FieldError."""
    try:
        parsed = ipaddress.IPv4Network(text.strip(), strict=True)
    except ValueError:
        raise FieldError(field, f"“{text[:40]}” is not an IPv4 network such as 192.168.150.0/24 (its host bits must be zero).") from None
    if not SHORTEST_PREFIX <= parsed.prefixlen <= LONGEST_PREFIX:
        raise FieldError(field, f"The prefix must lie between /{SHORTEST_PREFIX} and /{LONGEST_PREFIX}.")
    if parsed.is_loopback or parsed.is_multicast or parsed.is_link_local or parsed.is_unspecified or parsed.is_reserved:
        raise FieldError(field, f"{parsed} is reserved: choose a private range.")
    return str(parsed)


def _submit_apply(user: User, network: Network) -> Job:
    return engine.submit("network.apply", user=user, target=network, title=f"Apply network {network.name} to hosts", locks=[network])


def _valid_forward(text: str) -> str:
    if text not in Forward.values:
        raise FieldError("forward", "Choose NAT or isolated.")
    return text


def _ensure(action: str, network: Network) -> None:
    verdict = can.check(action, network, busy=holder_of(network), nics=network.nics.count())
    if not verdict:
        raise NotPossible(verdict.reason)


def _check_unique(network: Network) -> None:
    mine = ipaddress.IPv4Network(network.cidr)
    for other in network.cluster.networks.exclude(pk=network.pk):
        if other.name.lower() == network.name.lower():
            raise FieldError("name", f"Cluster {network.cluster} has a network named {other.name} already.")
        if mine.overlaps(ipaddress.IPv4Network(other.cidr)):
            raise FieldError("cidr", f"{mine} overlaps with network {other.name} ({other.cidr}).")


def _save(network: Network, **options: Any) -> None:
    try:
        with transaction.atomic():
            network.save(**options)
    except IntegrityError:
        _check_unique(network)
        raise
