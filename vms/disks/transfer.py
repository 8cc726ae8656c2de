"""Moving and copying disks between storage domains: the verbs, and the jobs behind them.

A disk lies where its row says. A move makes a volume at the target, brings the content there (by libvirt while nobody uses
the disk, by the hypervisor's mirror while a VM runs), then changes the row, and then deletes the volume that the row no longer
names. Whatever fails or dies on the way, `tidy` deletes the one that the row does not name: one place, no second file.
"""

from dataclasses import dataclass

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from accounts.quotas import rules
from accounts.quotas.models import Quota, Resource
from events.log import record
from hosts.models import Host, QuotaMode
from jobs.engine import holder_of, submit
from jobs.errors import ObjectBusy
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name
from storage import can as storage_can
from storage import quotas, space
from storage.disks.can import check
from storage.models import Disk, DiskStatus, StorageDomain
from storage.services import place, users_of


@dataclass(frozen=True, kw_only=True)
class NewCopy:
    """A copy that is asked for.

    Args:
        host: whose directory, when the domain is local; None: where the disk is, or the one with most space.
        quota: None: the only one that the user holds there.
    """

    name: str
    domain: StorageDomain
    host: Host | None = None
    format: str = ""
    quota: Quota | None = None


def move(user: User, disk: Disk, domain: StorageDomain, host: Host | None = None) -> Job:
    """Brings the disk to another storage domain, under the running VM when one uses it.

    Raises:
        FieldError: it cannot lie there; NotPossible, ObjectBusy: it cannot be moved now.
    """
    require(user, "disk.edit", disk)
    require(user, "disk.create", domain)
    with transaction.atomic():
        disk = Disk.objects.select_for_update(of=("self",)).select_related("domain", "host", "quota").get(pk=disk.pk)
        _ensure("move", disk)
        vms = [attachment.vm for attachment in disk.attachments.select_related("vm__host")]
        runs_on = next((vm.host for vm in vms if vm.host is not None), None)
        lands = _place(disk, domain, host, runs_on)
        if domain.pk == disk.domain_id and (lands.pk if lands else None) == disk.host_id:
            raise FieldError("domain", f"{disk.name} lies there already.")
        others = [vm for vm in vms if lands is not None and vm.host_id not in (None, lands.pk)]
        if others:
            raise FieldError("domain", f"{others[0].name}, which has it, is on {others[0].host}: on {lands} it could not reach it.")
        _ensure_room(disk, domain, lands)
        params = {
            "from": [str(disk.domain_id), str(disk.host_id or "")],
            "to": [str(domain.pk), str(lands.pk) if lands else ""],
        }
        job = submit("disk.move", user=user, target=disk, title=f"Move disk {disk.name} to {domain.name}", params=params, locks=vms)
        record("disk.move_asked", f"Disk {disk.name} moves from {disk.domain} to {domain.name}", obj=disk, user=user, job=job)
        return job


def copy(user: User, source: Disk, new: NewCopy) -> tuple[Disk, Job]:
    """Makes another disk with the same content, as of when the copy ends while a VM runs with it."""
    require(user, "disk.view", source)
    require(user, "disk.attach", source)  # who may not use it may not read it either
    require(user, "disk.create", new.domain)
    with transaction.atomic():
        source = Disk.objects.select_for_update(of=("self",)).select_related("domain", "host").get(pk=source.pk)
        _ensure("copy", source)
        vms = [attachment.vm for attachment in source.attachments.select_related("vm__host")]
        made = Disk(
            name=valid_name(new.name),
            domain=new.domain,
            host=_place(source, new.domain, new.host, next((vm.host for vm in vms if vm.host is not None), None)),
            content=source.content,
            format=new.format or _format_in(new.domain, source.format),
            capacity_bytes=source.capacity_bytes,
            status=DiskStatus.LOCKED,
            quota=rules.choose(user, new.domain.data_center, new.quota),
        )
        if made.format not in new.domain.traits.formats:
            raise FieldError("format", f"Disks in {new.domain.name} are {' or '.join(new.domain.traits.formats)}.")
        quotas.take_disk(user, made, "name")
        space.take(made, "domain")
        made.save(force_insert=True)
        publish("disk", made.pk, "added", made.rev, {"status": made.status})
        params = {"source": str(source.pk), "to": [str(new.domain.pk), str(made.host_id or "")]}
        job = submit(
            "disk.copy", user=user, target=made, title=f"Copy disk {source.name} as {made.name}", params=params, locks=[source, *vms]
        )
        record("disk.created", f"Disk {made.name} is a copy of {source.name}", obj=made, user=user, job=job)
        return made, job


def _ensure(action: str, disk: Disk) -> None:
    if (busy := holder_of(disk)) is not None:
        raise ObjectBusy(disk.name, busy)
    if not (verdict := check(action, disk, **users_of(disk))):
        raise NotPossible(verdict.reason)


def _place(disk: Disk, domain: StorageDomain, host: Host | None, runs_on: Host | None) -> Host | None:
    """On which host it will lie: one that reaches both places, for no other can copy."""
    if disk.domain is None or domain.data_center_id != disk.domain.data_center_id:
        raise FieldError("domain", f"{domain.name} belongs to another data center.")
    if not (verdict := storage_can.check_domain("create-disk", domain, busy=holder_of(domain))):
        raise FieldError("domain", verdict.reason)
    if disk.host is not None and host is not None and host != disk.host and not domain.is_shared:
        raise FieldError("host", f"{disk.name} lies on {disk.host} alone: bring it to a shared storage domain first.")
    return place(domain, host or disk.host or runs_on)


def _format_in(domain: StorageDomain, format: str) -> str:
    """The format itself where the domain takes it, else the one that suits the domain best."""
    return format if format in domain.traits.formats else domain.traits.formats[0]


def _ensure_room(disk: Disk, domain: StorageDomain, lands: Host | None) -> None:
    """A move takes nothing more of the whole quota, and the disk's size of what is set for the target alone."""
    if disk.format not in domain.traits.formats:
        raise FieldError(
            "domain", f"Disks in {domain.name} are {' or '.join(domain.traits.formats)}, and {disk.name} is {disk.format}: copy it there."
        )
    space.take(Disk(pk=disk.pk, domain=domain, host=lands, capacity_bytes=disk.capacity_bytes), "domain")
    quota = disk.quota
    if quota is None or disk.domain_id == domain.pk or rules.mode_of(quota.data_center_id) != QuotaMode.ENFORCED:
        return
    for fit in rules.fits(quota, [rules.Claim(Resource.STORAGE, disk.capacity_bytes, domain.pk)]):
        if fit.limit.storage_domain_id is not None and fit.is_too_much:
            raise FieldError("domain", fit.sentence("this disk"))
