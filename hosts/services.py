"""The verbs on hosts. Each checks the permission and `can`, writes the row and a job in one transaction, and returns at once."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from hosts import can
from hosts.address import valid_address, valid_port, valid_ssh_user
from hosts.enrolment import Command, issue
from hosts.models import Cluster, Host, HostStatus, HostTransport
from jobs import engine
from jobs.engine import holder_of
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name, valid_text

EDITABLE = frozenset({"name", "description", "address", "port", "ssh_user", "cluster", "emulation_only"})
_REACHED_BY = frozenset({"address", "port", "ssh_user"})


@dataclass(frozen=True, kw_only=True)
class NewHost:
    """What is asked for when a host is added.

    Args:
        address: name or IP address; its certificate and its displays are for this.
        enrol: for TLS: the host has no certificate of ours yet. It then waits for its enrolment command to be run.
        port: 0: the transport's own.
        ssh_fingerprint: "SHA256:…" that the host's key must have; empty: the key shown at first contact is accepted and pinned.
        emulation_only: never use KVM there, even if libvirt offers it.
    """

    name: str
    cluster: Cluster
    address: str
    transport: str = HostTransport.TLS
    enrol: bool = False
    port: int = 0
    ssh_user: str = "root"
    ssh_fingerprint: str = ""
    test_uri: str = ""
    description: str = ""
    emulation_only: bool = False


def add(user: User, new: NewHost) -> tuple[Host, Job | None]:
    """Adds a host and starts the job `host.add`, which connects, reads what it is, and adopts the VMs that run there.

    Returns:
        The host (installing), and the job; no job with `enrol`, where the enrolment command starts it: see `new_enrolment`.

    Raises:
        PermissionDenied, FieldError: name or address taken, or not one.
    """
    if new.cluster is None:
        raise FieldError("cluster", "Choose a cluster.")
    require(user, "host.create", new.cluster)
    if new.transport not in HostTransport.values:
        raise FieldError("transport", "Choose how the host is reached.")
    host = Host(
        name=valid_name(new.name),
        cluster=new.cluster,
        transport=new.transport,
        address=valid_address(new.address),
        port=valid_port(new.port, new.transport),
        ssh_user=valid_ssh_user(new.ssh_user) if new.transport == HostTransport.SSH else "",
        test_uri=new.test_uri if new.transport == HostTransport.TEST else "",
        description=valid_text(new.description.strip()),
        emulation_only=new.emulation_only,
        status=HostStatus.INSTALLING,
    )
    waits = new.enrol and new.transport == HostTransport.TLS
    if waits:
        host.status_reason = "waits for its enrolment command to be run"
    _check_unique(host)
    with transaction.atomic():
        _save(host, force_insert=True)
        publish("host", host.pk, "added", host.rev, {"status": host.status})
        record("host.added", f"Host {host.name} was added at {host.address}", obj=host, user=user)
        return host, None if waits else submit_add(user, host, new.ssh_fingerprint)


def add_by_api(
    user: User, *, cluster: Cluster, portal_url: str, name: str, address: str, transport: str = "tls", **more: Any
) -> tuple[Host, Job | None, str]:
    """`add` in one call for programs: a host by TLS gets its enrolment command at once.

    Args:
        portal_url: how the host reaches this portal.
        more: further fields of NewHost.

    Returns:
        The host, its job (by SSH) or None, and the command (by TLS) or "".
    """
    host, job = add(
        user, NewHost(name=name, cluster=cluster, address=address, transport=transport, enrol=transport == HostTransport.TLS, **more)
    )
    return host, job, "" if job is not None else new_enrolment(user, host, portal_url).text


def submit_add(user: User | None, host: Host, ssh_fingerprint: str = "") -> Job:
    """The job that takes a host into service for the first time."""
    params = {"ssh_fingerprint": ssh_fingerprint.strip()} if ssh_fingerprint.strip() else {}
    return engine.submit("host.add", user=user, target=host, title=f"Add host {host.name}", params=params, locks=[host])


def new_enrolment(user: User, host: Host, base_url: str) -> Command:
    """A command that is pasted on the host once: it installs libvirt and a certificate, and the host joins by itself.

    Args:
        base_url: how the host reaches this portal, e.g. "https://vireo.example"; the caller builds it from its request.

    Returns:
        The text, shown once; earlier commands for the host no longer work.

    Raises:
        PermissionDenied, NotPossible.
    """
    require(user, "host.edit", host)
    _ensure("enrol", host)
    command = issue(user, host, base_url)
    record("host.enrolment", f"An enrolment command for {host.name} was made", obj=host, user=user)
    return command


def maintenance(user: User, host: Host, shut_down: bool = False) -> Job:
    """Takes a host out of use; what runs there moves to other hosts first.

    Args:
        shut_down: VMs that cannot move are asked to shut down.

    Raises:
        NotPossible: some cannot move, and are not to be shut down; the text names them and why.
    """
    from vms.migration.evacuation import departures  # vms builds on hosts

    require(user, "host.maintain", host)
    _ensure("maintenance", host)
    stuck = [leaving for leaving in departures(host) if leaving.reason]
    if stuck and not shut_down:
        words = "; ".join(f"{leaving.vm.name}: {leaving.reason}" for leaving in stuck[:5])
        more = f"; and {len(stuck) - 5} more" if len(stuck) > 5 else ""
        raise NotPossible(f"{len(stuck)} VM{'s' if len(stuck) > 1 else ''} cannot leave {host.name}: {words}{more}.")
    title = f"Maintenance of {host.name}"
    return engine.submit("host.maintenance", user=user, target=host, title=title, locks=[host], params={"shut_down": shut_down})


def activate(user: User, host: Host, accept_new_key: bool = False) -> Job:
    """Takes a host into use (again): connects, reads it anew, and makes its storage and networks ready.

    Args:
        accept_new_key: by SSH: forget the pinned host keys and accept those that it shows now.
    """
    require(user, "host.maintain", host)
    _ensure("activate", host)
    if accept_new_key:
        require(user, "host.edit", host)
        with transaction.atomic():
            Host.objects.filter(pk=host.pk).update(ssh_host_keys="")
            record("host.key_forgotten", f"The SSH host keys of {host.name} were forgotten, to accept new ones", obj=host, user=user)
            return submit_add(user, host)
    if host.last_seen_at is None:
        return submit_add(user, host)
    return engine.submit("host.activate", user=user, target=host, title=f"Activate {host.name}", locks=[host])


def refresh(user: User, host: Host) -> Job:
    """Reads the host's capabilities again, after a change of its hardware or software."""
    require(user, "host.edit", host)
    _ensure("refresh", host)
    return engine.submit("host.refresh", user=user, target=host, title=f"Read the capabilities of {host.name}", locks=[host])


def remove(user: User, host: Host) -> Job:
    """Removes a host from Vireo. What runs or lies on it stays as it is; adopted VMs are only forgotten.

    Raises:
        NotPossible: it is in use, VMs may still run on it, or disks of ours lie in its local storage.
    """
    require(user, "host.delete", host)
    _ensure("remove", host)
    reason = removal_blocker(host)
    if reason:
        raise NotPossible(reason)
    return engine.submit("host.remove", user=user, target=host, title=f"Remove host {host.name}", locks=[host])


def edit(user: User, host: Host, changes: Mapping[str, Any]) -> tuple[Host, Job | None]:
    """Changes a host's row; a new address is tried at once by a job.

    Args:
        changes: of EDITABLE.

    Raises:
        PermissionDenied, FieldError, NotPossible: address or cluster of a host that is in use.
    """
    require(user, "host.edit", host)
    changed = {name: value for name, value in _clean(host, changes).items() if getattr(host, name) != value}
    if not changed:
        return host, None
    moves = changed.keys() & (_REACHED_BY | {"cluster"})
    if moves:
        verdict = can.check("remove", host, busy=holder_of(host))  # the same states: nothing may depend on it now
        if not verdict:
            raise NotPossible(
                f"The {' and '.join(sorted(moves)).replace('_', ' ')} can change only while {host.name} is out of use. {verdict.reason}"
            )
    if "cluster" in changed:
        require(user, "host.create", changed["cluster"])
        if host.vms.exists():
            raise FieldError("cluster", f"{host.name} has VMs: it cannot change its cluster.")
    before = audit.snapshot(host, *changed)
    for name, value in changed.items():
        setattr(host, name, value)
    _check_unique(host)
    job = None
    with transaction.atomic():
        if moves & _REACHED_BY:
            host.ssh_host_keys = ""
            changed["ssh_host_keys"] = ""
        host.rev += 1
        _save(host, update_fields=[*changed, "rev", "updated_at"])
        publish("host", host.pk, "changed", host.rev, {"status": host.status})
        change = audit.changes(before, audit.snapshot(host, *before))
        record("host.edited", f"Host {host.name} was changed: {', '.join(sorted(changed))}", obj=host, user=user, change=change)
        if moves & _REACHED_BY and host.status != HostStatus.MAINTENANCE:
            job = submit_add(user, host)
    return host, job


def blockers(host: Host) -> list[str]:
    """Names of the VMs that run on the host, or may. A suspended one does not: its memory lies on the host's disk."""
    return list(host.vms.exclude(status__in=("down", "suspended")).order_by("name").values_list("name", flat=True))


def removal_blocker(host: Host) -> str:
    """Why the host cannot be removed, "" when it can."""
    running = blockers(host)
    if running:
        return f"{len(running)} VM{'s' if len(running) > 1 else ''} may still run on {host.name}: {_names(running)}."
    disks = list(host.local_disks.filter(domain__isnull=False).order_by("name").values_list("name", flat=True))
    if disks:
        return f"{len(disks)} disk{'s lie' if len(disks) > 1 else ' lies'} in the local storage of {host.name}: {_names(disks)}. Remove them first."
    return ""


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _ensure(action: str, host: Host) -> None:
    verdict = can.check(action, host, busy=holder_of(host))
    if not verdict:
        raise NotPossible(verdict.reason)


def _clean(host: Host, changes: Mapping[str, Any]) -> dict[str, Any]:
    unknown = changes.keys() - EDITABLE
    if unknown:
        raise FieldError(sorted(unknown)[0], "This cannot be changed.")
    clean = dict(changes)
    checks: dict[str, Callable[[str], str]] = {
        "name": valid_name,
        "address": valid_address,
        "ssh_user": valid_ssh_user,
        "description": lambda text: valid_text(text.strip()),
    }
    for name in changes.keys() & checks.keys():
        clean[name] = checks[name](clean[name])
    if "port" in clean:
        clean["port"] = valid_port(clean["port"], host.transport)
    return clean


def _check_unique(host: Host) -> None:
    others = Host.objects.exclude(pk=host.pk)
    if others.filter(name__iexact=host.name).exists():
        raise FieldError("name", f"A host named {host.name} exists already.")
    same = others.filter(transport=host.transport, address=host.address, port=host.port, test_uri=host.test_uri).first()
    if same is not None:
        raise FieldError("address", f"{host.address} is host {same.name} already.")
    if host.transport in (HostTransport.TLS, HostTransport.SSH) and _unspecified(host.address):
        raise FieldError("address", f"{host.address} is no host's own address.")


def _unspecified(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_unspecified or parsed.is_multicast


def _save(host: Host, **options: Any) -> None:
    """Saves; two requests with one name at the same moment end like one after the other."""
    try:
        with transaction.atomic():
            host.save(**options)
    except IntegrityError:
        _check_unique(host)
        raise
