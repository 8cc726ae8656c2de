"""The verbs on storage domains."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from hosts.models import DataCenter
from hypervisor.pool_xml import same_place
from hypervisor.spec import PoolSpec
from jobs import engine
from jobs.engine import holder_of
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name, valid_text
from portal.secrets import encrypt
from storage import can, observe
from storage.kinds import KINDS, valid_path
from storage.models import StorageDomain
from storage.sources import pool_of, target_path

_SPACE = ("warning_percent", "critical_bytes", "overcommit")
_EDITABLE = ("name", "description", *_SPACE)


@dataclass(frozen=True, kw_only=True)
class NewDomain:
    """What is asked for when a storage domain is made.

    Args:
        kind: of StorageKind.
        path: for a directory: absolute, on the hosts; made when it is missing. A shared one must be the same on every host.
        source: for the other kinds: what storage.kinds says that they ask for, the secret among it.
        takes_in: scan it for disks as soon as it is there.
    """

    name: str
    data_center: DataCenter
    kind: str
    path: str = ""
    source: Mapping[str, str] = field(default_factory=dict, repr=False)
    description: str = ""
    warning_percent: int = 10
    critical_bytes: int = 1 << 30
    overcommit: Decimal = Decimal(0)
    takes_in: bool = False


def create_domain(user: User, new: NewDomain) -> tuple[StorageDomain, Job]:
    """Makes a storage domain; the job `storage.create` tries it on every host of the data center that is up, and tells of each.

    A domain that no host can reach is left unattached: its connection can be corrected, and it can be attached again.

    Raises:
        PermissionDenied, FieldError: name or storage taken, or nothing that this kind could use.
    """
    require(user, "storage_domain.create", new.data_center)
    if new.kind not in KINDS:
        raise FieldError("kind", "Choose a kind of storage.")
    domain = StorageDomain(
        name=valid_name(new.name),
        data_center=new.data_center,
        kind=new.kind,
        description=valid_text(new.description.strip()),
    )
    _connect(domain, new.path, new.source)
    for name in _SPACE:
        setattr(domain, name, _valid_space(name, getattr(new, name)))
    _check_unique(domain)
    with transaction.atomic():
        _save(domain, force_insert=True)
        publish("storage_domain", domain.pk, "added", domain.rev, {"status": domain.status})
        record("storage_domain.created", f"Storage domain {domain.name} was created at {domain.place}", obj=domain, user=user)
        params = {"scan": True} if new.takes_in else {}
        return domain, _submit("storage.create", user, domain, f"Create storage domain {domain.name}", **params)


def edit_domain(user: User, domain: StorageDomain, changes: Mapping[str, Any]) -> StorageDomain:
    """Changes `name`, `description`, `warning_percent`, `critical_bytes`, `overcommit`. Raises PermissionDenied, FieldError."""
    require(user, "storage_domain.edit", domain)
    for name, value in changes.items():
        if name not in _EDITABLE:
            raise FieldError(name, "This cannot be changed: disks lie there.")
        if name in _SPACE:
            value = _valid_space(name, value)
        setattr(domain, name, valid_name(value) if name == "name" else valid_text(value.strip()) if name == "description" else value)
    _check_unique(domain)
    _store(user, domain, _EDITABLE)
    observe.summarize(domain)  # a new threshold may have been crossed by it
    return domain


def reconnect_domain(user: User, domain: StorageDomain, path: str, source: Mapping[str, str]) -> StorageDomain:
    """Changes where an unattached domain lies. An empty secret keeps the one that is stored.

    Raises:
        NotPossible: hosts have it.
    """
    require(user, "storage_domain.edit", domain)
    ensure("reconnect", domain)
    if not source.get("secret") and domain.secret and source.get("user"):
        kept = domain.secret
        _connect(domain, path, source)
        domain.secret = kept
    else:
        _connect(domain, path, source)
    _check_unique(domain)
    _store(user, domain, ("path", "source"), "secret")
    return domain


def attach_domain(user: User, domain: StorageDomain) -> Job:
    """Brings an unattached domain, with the disks that it had, to every host that is up."""
    return _act("attach", "storage.attach", "Attach", user, domain)


def activate_domain(user: User, domain: StorageDomain) -> Job:
    """Readies the domain again on every host that is up, and looks at its space."""
    return _act("activate", "storage.activate", "Activate", user, domain)


def maintain_domain(user: User, domain: StorageDomain) -> Job:
    """Takes the domain out of use on every host. Raises NotPossible while a running VM has a disk there."""
    return _act("maintenance", "storage.maintenance", "Maintenance of", user, domain)


def detach_domain(user: User, domain: StorageDomain) -> Job:
    """Takes the domain off every host; Vireo remembers its disks. Raises NotPossible while a running VM has a disk there."""
    return _act("detach", "storage.detach", "Detach", user, domain)


def scan_domain(user: User, domain: StorageDomain) -> Job:
    """Looks for volumes in the domain that are no disks of ours (storage.imports)."""
    return _act("scan", "storage.scan", "Look for disks in", user, domain)


def try_locks(user: User, domain: StorageDomain) -> Job:
    """Finds out whether what one host has open is refused to the others (storage.locks)."""
    return _act("locks", "storage.locks", "Try the locks of", user, domain)


def remove_domain(user: User, domain: StorageDomain) -> Job:
    """Removes the domain from every host and from Vireo; what lies there stays. Raises NotPossible while Vireo has disks in it."""
    return _act("remove", "storage.remove", "Remove", user, domain, permission="storage_domain.delete")


def destroy_domain(user: User, domain: StorageDomain, confirmation: str) -> Job:
    """Forgets the domain with its disks and templates, without touching the storage: for one that is lost for good.

    Args:
        confirmation: the domain's name.

    Raises:
        FieldError: the name is another; NotPossible: a running VM has a disk there.
    """
    require(user, "storage_domain.delete", domain)
    if confirmation.strip() != domain.name:
        raise FieldError("confirm_name", "This is not the storage domain's name.")
    return _act("destroy", "storage.destroy", "Destroy", user, domain, permission="storage_domain.delete")


def running_on(domain: StorageDomain) -> list[str]:
    """Names of the VMs that are not down and have a disk in the domain."""
    return sorted(
        set(domain.disks.exclude(attachments=None).exclude(attachments__vm__status="down").values_list("attachments__vm__name", flat=True))
    )


def ensure(action: str, domain: StorageDomain) -> None:
    """Raises NotPossible, with the reason, when the domain cannot do the action now."""
    verdict = can.check_domain(action, domain, busy=holder_of(domain), disks=domain.disks.count())
    if not verdict:
        raise NotPossible(verdict.reason)


def _act(action: str, kind: str, words: str, user: User, domain: StorageDomain, permission: str = "storage_domain.edit") -> Job:
    require(user, permission, domain)
    ensure(action, domain)
    if action in ("maintenance", "detach", "destroy") and (names := running_on(domain)):
        have = "s have" if len(names) > 1 else " has"
        raise NotPossible(f"{len(names)} running VM{have} disks in {domain.name}: {', '.join(names[:5])}. Shut down what uses it first.")
    return _submit(kind, user, domain, f"{words} storage domain {domain.name}")


def _submit(kind: str, user: User, domain: StorageDomain, title: str, **params: Any) -> Job:
    return engine.submit(kind, user=user, target=domain, title=title, locks=[domain], params=params)


def _connect(domain: StorageDomain, path: str, source: Mapping[str, str]) -> None:
    shown, secret = domain.traits.clean(source)
    if shown.get("user") and not secret and not domain.secret:
        raise FieldError("secret", "Give the user's secret, too.")
    domain.source, domain.secret = shown, encrypt(secret)
    given = valid_path(path) if domain.traits.has_path else ""
    domain.path = target_path(domain.kind, domain.pk, given, shown)


def _valid_space(name: str, value: Any) -> Any:
    if name == "warning_percent" and not 0 <= value <= 90:
        raise FieldError(name, "Give a share from 0 to 90 %.")
    if name == "critical_bytes" and not 0 <= value < 1 << 60:
        raise FieldError(name, "Give a size from 0 on.")
    if name == "overcommit" and not (value == 0 or 1 <= value <= 1000):
        raise FieldError(name, "Give a factor from 1 to 1000, or 0 for no limit.")
    return value


def _check_unique(domain: StorageDomain) -> None:
    first = domain.traits.fields[0].name
    for other in domain.data_center.storage_domains.exclude(pk=domain.pk):
        if other.name.lower() == domain.name.lower():
            raise FieldError("name", f"Data center {domain.data_center} has a storage domain named {other.name} already.")
        if domain.traits.has_path and other.traits.has_path:
            if f"{other.path}/".startswith(f"{domain.path}/") or f"{domain.path}/".startswith(f"{other.path}/"):
                raise FieldError("path", f"Storage domain {other.name} uses {other.path} already.")
        elif other.kind == domain.kind and same_place(_anywhere(domain), _anywhere(other)):
            raise FieldError(first, f"Storage domain {other.name} uses {other.place} already.")


def _anywhere(domain: StorageDomain) -> PoolSpec:
    """Its pool without our own mount point, which is another for each domain."""
    return replace(pool_of(domain), path="")


def _store(user: User, domain: StorageDomain, fields: tuple[str, ...], *unseen: str) -> None:
    """Writes changed fields, the audit's difference of those that may be seen, and the event."""
    domain.rev += 1
    with transaction.atomic():
        change = audit.changes(audit.stored(domain, *fields), audit.snapshot(domain, *fields))
        _save(domain, update_fields=[*fields, *unseen, "rev", "updated_at"])
        publish("storage_domain", domain.pk, "changed", domain.rev, {"status": domain.status})
        record("storage_domain.edited", f"Storage domain {domain.name} was changed", obj=domain, user=user, change=change)


def _save(domain: StorageDomain, **options: Any) -> None:
    try:
        with transaction.atomic():
            domain.save(**options)
    except IntegrityError:
        _check_unique(domain)
        raise
