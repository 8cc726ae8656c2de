"""The verbs on VMs and templates. Pages, the API and the CLI call these and nothing below.

Each checks the permission and the capability, writes the rows and the job in one transaction, and returns the job.
Raises PermissionDenied (403), NotPossible and jobs.errors.ObjectBusy (409), FieldError (422).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import allowed, grant, require
from accounts.quotas import rules
from accounts.quotas.models import Quota
from audit import log as audit
from events.log import record
from hosts.models import Cluster, Host
from jobs.engine import holder_of, submit
from jobs.errors import ObjectBusy
from jobs.models import Job
from networks.models import Network
from portal.errors import FieldError, NotPossible
from portal.live import publish
from portal.names import valid_name, valid_text
from storage.kinds import MAKING
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain, StorageStatus
from vms import can, quota
from vms.build import domain_name_for, draft_disks, draft_nic, new_display_secret
from vms.drift import ACCEPTABLE
from vms.guest import first_boot
from vms.guest.settings import FirstBoot
from vms.ha import lease
from vms.hotplug import can_plug
from vms.lending import expiry_of_new
from vms.migration import services as migration
from vms.models import VM, Firmware, Priority, Template, VmStatus

MEMORY_MIB = range(16, 16 * 2**20)
VCPUS = range(1, 513)
DISK_BYTES = range(1 << 20, (64 << 40) + 1)

OS_LENGTH = 64

# Actions that are no plain job of the same name: `act` refuses them.
NOT_BY_ACT = frozenset({"console", "edit", "template", "remove", "migrate"})
_WORDS = {
    "start": "Run",
    "start_paused": "Start paused",
    "run_once": "Run once",
    "shutdown": "Shut down",
    "poweroff": "Power off",
    "reboot": "Reboot",
    "reset": "Reset",
    "pause": "Pause",
    "resume": "Resume",
}
_RUNS = frozenset({"start", "start_paused", "run_once"})
# Fields that a running domain cannot take: they wait for the next run.
_NEXT_RUN_FIELDS = ("memory_mib", "vcpus", "firmware")
_HA_FIELDS = ("highly_available", "priority", "restart_by_lease")
_PLAIN_FIELDS = ("name", "description", "tags", "delete_protected", *_HA_FIELDS)
_SHOWN_FIELDS = frozenset({"name", "description", "tags"})  # those of them that stand in the domain's definition


@dataclass(frozen=True)
class NewVm:
    """What a new VM should be.

    Args:
        template: None makes a blank VM with one disk of `disk_bytes`.
        iso: goes into its CD drive, which boots while no disk has a system.
        storage_domain: where its disks lie; None: where the template's are, or the first that the user may use.
        network: None: the cluster's first that the user may use.
        host: None: the scheduler chooses at the start.
        start: runs it once it is made.
        quota: what it counts against; None: the only one that the user holds there, if any.
        first_boot: what its guest is told; None: as the template says, with the user's own SSH keys.
        full_copy: its disks depend on no disk of the template, and take their whole space at once.
    """

    name: str
    cluster: Cluster
    template: Template | None = None
    iso: Disk | None = None
    memory_mib: int = 512
    vcpus: int = 1
    disk_bytes: int | None = None
    network: Network | None = None
    storage_domain: StorageDomain | None = None
    description: str = ""
    start: bool = False
    firmware: str = Firmware.BIOS
    os: str = "linux"
    tags: tuple[str, ...] = ()
    host: Host | None = None
    quota: Quota | None = None
    first_boot: FirstBoot | None = None
    full_copy: bool = False


@dataclass(frozen=True)
class BulkResult:
    """What became of one VM of a selection: a job, or the reason why not."""

    vm: VM
    job: Job | None
    reason: str = ""


def create(user: User, new: NewVm) -> tuple[VM, Job]:
    """Makes the rows, `image_locked`, and the job that makes disks and domain; when that fails nothing is left."""
    if new.cluster is None:
        raise FieldError("cluster", "Choose a cluster.")
    require(user, "vm.create", new.cluster)
    name = valid_name(new.name)
    _check_hardware(new.memory_mib, new.vcpus, new.firmware)
    if len(new.os) > OS_LENGTH:
        raise FieldError("os", "This is not the name of an operating system.")
    _check_references(user, new)
    storage_domain = _storage_for(user, new)
    network = new.network or Network.objects.visible_to(user, "network.use").filter(cluster=new.cluster).first()
    taken = FieldError("name", f"Cluster {new.cluster.name} has a VM named {name} already.")
    if VM.objects.filter(cluster=new.cluster, name__iexact=name).exists():
        raise taken
    template = new.template
    settings = first_boot.fitting(new.first_boot or first_boot.default_for(user, template), name)
    vm = VM(
        name=name,
        description=valid_text(new.description),
        cluster=new.cluster,
        template=template,
        owner=user,
        host=new.host,
        memory_mib=new.memory_mib,
        vcpus=new.vcpus,
        firmware=template.firmware if template else new.firmware,
        os=template.os if template else new.os,
        kernel=template.kernel if template else "",
        initrd=template.initrd if template else "",
        cmdline=template.cmdline if template else "",
        tags=_valid_tags(new.tags),
        status=VmStatus.IMAGE_LOCKED,
        display_secret=new_display_secret(),
        expires_at=expiry_of_new(user),
        quota=rules.choose(user, new.cluster.data_center, new.quota),
        rev=1,
    )
    try:
        with transaction.atomic():
            quota.take_new(user, vm, storage_domain, new.disk_bytes, new.start)
            vm.domain_name = domain_name_for(vm)
            vm.save(force_insert=True)
            drafts = draft_disks(vm, template, storage_domain, new.disk_bytes, new.iso, full_copy=new.full_copy)
            draft_nic(vm, network)
            seed = first_boot.draft(vm, settings, storage_domain)
            grant("UserVmManager", vm, user=user, by=user)
            copies = {str(draft.disk.pk): str(draft.copy_of.pk) for draft in drafts if draft.copy_of is not None}
            params = {"start": new.start} | ({"copies": copies} if copies else {})
            locks = [*(draft.disk for draft in drafts), *([seed] if seed else [])]
            change = audit.Change({}, audit.snapshot(vm, *_PLAIN_FIELDS, *_NEXT_RUN_FIELDS, "os", "cluster", "template", "expires_at"))
            job = submit("vm.create", user=user, target=vm, title=f"Create {name}", params=params, locks=locks, change=change)
            record("vm.create_asked", f"{user} asked for VM {name}", obj=vm, user=user, job=job)
            publish("vm", vm.pk, "added", vm.rev, {"status": vm.status})
    except IntegrityError:
        raise taken from None
    return vm, job


def _check_hardware(memory_mib: int, vcpus: int, firmware: str) -> None:
    if memory_mib not in MEMORY_MIB:
        raise FieldError("memory_mib", f"Memory is at least {MEMORY_MIB.start} MiB and at most {MEMORY_MIB.stop >> 20} TiB.")
    if vcpus not in VCPUS:
        raise FieldError("vcpus", f"A VM has 1 to {VCPUS.stop - 1} virtual CPUs.")
    if firmware not in Firmware.values:
        raise FieldError("firmware", f"There is no such firmware; there are {', '.join(Firmware.values)}.")


def _check_references(user: User, new: NewVm) -> None:
    """Ids come from forms and bodies: each must be the user's to use, and fit the others."""
    if new.template is not None:
        if not allowed(user, "template.use", new.template):
            raise FieldError("template", "You may not use this template.")
        if new.template.data_center_id != new.cluster.data_center_id:
            raise FieldError("template", f"Template {new.template.name} lies in another data center than cluster {new.cluster.name}.")
        disks = list(new.template.disks.select_related("host"))
        if any(disk.status != DiskStatus.OK for disk in disks):
            raise FieldError("template", f"Template {new.template.name} is not ready: its disks are still being made.")
        only = next((disk.host for disk in disks if disk.host is not None), None)
        if only is not None and new.host is not None and only != new.host:
            raise FieldError("host", f"The disks of template {new.template.name} lie on {only.name} alone.")
    elif new.disk_bytes is not None and new.disk_bytes not in DISK_BYTES:
        raise FieldError("disk_bytes", "A disk has 1 MiB to 64 TiB.")
    if new.iso is not None and (
        new.iso.content != DiskContent.ISO
        or new.iso.status != DiskStatus.OK
        or new.iso.domain is None
        or new.iso.domain.data_center_id != new.cluster.data_center_id
        or not allowed(user, "disk.view", new.iso)
    ):
        raise FieldError("iso", "This is not an ISO that is ready to use.")
    if new.network is not None and (new.network.cluster_id != new.cluster.pk or not allowed(user, "network.use", new.network)):
        raise FieldError("network", f"This network is not one of cluster {new.cluster.name} that you may use.")
    if new.host is not None and (new.host.cluster_id != new.cluster.pk or not allowed(user, "host.view", new.host)):
        raise FieldError("host", f"This host is not one of cluster {new.cluster.name} that you may choose.")


def _storage_for(user: User, new: NewVm) -> StorageDomain:
    chosen = new.storage_domain
    if chosen is None and new.template is not None:
        first = new.template.disks.select_related("domain").first()
        chosen = first.domain if first else None
    if chosen is None:
        active = StorageDomain.objects.visible_to(user, "storage_domain.use").filter(
            data_center=new.cluster.data_center_id, status=StorageStatus.ACTIVE, kind__in=MAKING
        )
        # A shared one before a local one, and then the one with most space.
        chosen = max(active, key=lambda domain: (domain.is_shared, domain.available_bytes), default=None)
        if chosen is None:
            raise FieldError("storage_domain", "There is no active storage domain that you may use.")
    elif new.storage_domain is not None and not allowed(user, "storage_domain.use", chosen):
        raise FieldError("storage_domain", "You may not use this storage domain.")
    if chosen.data_center_id != new.cluster.data_center_id:
        raise FieldError("storage_domain", f"{chosen.name} belongs to another data center.")
    if chosen.status != StorageStatus.ACTIVE:
        raise FieldError("storage_domain", f"{chosen.name} is {chosen.get_status_display().lower()}.")
    if not chosen.traits.makes:
        raise FieldError("storage_domain", f"The disks of {chosen.name} are the storage's own LUNs: none can be made there.")
    if new.template is not None and not chosen.traits.files:
        raise FieldError("storage_domain", f"{chosen.name} keeps no files, and a template's disks are copied as files.")
    return chosen


def _valid_tags(tags: Iterable[str]) -> list[str]:
    found = sorted({tag.strip() for tag in tags if tag.strip()})
    if len(found) > 50 or any(len(tag) > 64 for tag in found):
        raise FieldError("tags", "At most 50 tags of 64 characters each.")
    return [valid_name(tag, "tags") for tag in found]


def _ready(user: User, vm: VM, action: str) -> None:
    """Permission, then capability. Raises PermissionDenied, ObjectBusy, NotPossible."""
    require(user, can.ACTIONS[action].permission, vm)
    busy = holder_of(vm)
    if busy is not None and action != "edit":
        raise ObjectBusy(vm.name, busy)
    verdict = can.check(action, vm, busy=busy)
    if not verdict:
        raise NotPossible(verdict.reason)


def act(user: User, vm: VM, action: str, **options: Any) -> Job:
    """A verb of can.ACTIONS as a job.

    Args:
        options: shutdown: `force` (power off when the guest does not answer in time); run_once: `iso` (id), `paused`.
    """
    if action not in _WORDS:
        raise NotPossible(f"There is no action {action}.")
    _ready(user, vm, action)
    params: dict[str, Any] = {}
    if action == "shutdown" and options.get("force"):
        params["force"] = True
    if action == "run_once":
        params["paused"] = bool(options.get("paused"))
        if options.get("iso"):
            params["iso"] = str(_iso_for(user, vm, options["iso"]).pk)
    with transaction.atomic():
        if action in _RUNS:
            quota.take_start(user, VM.objects.select_for_update(of=("self",)).select_related("cluster__data_center").get(pk=vm.pk))
        return submit(f"vm.{action}", user=user, target=vm, title=f"{_WORDS[action]} {vm.name}", params=params)


def _iso_for(user: User, vm: VM, key: Any) -> Disk:
    """The ISO of this id, when the user may see it and the VM's data center has it."""
    ready = Disk.objects.visible_to(user).filter(
        content=DiskContent.ISO, status=DiskStatus.OK, domain__data_center=vm.cluster.data_center_id
    )
    try:
        return ready.get(pk=key)
    except (Disk.DoesNotExist, ValidationError):  # ValidationError: it is no id at all
        raise FieldError("iso", "This is not an ISO that is ready to use.") from None


def remove(user: User, vm: VM, keep_disks: bool = False) -> Job:
    """Domain, row and, unless they are kept, its own disks. Foreign files of an adopted VM are never deleted."""
    _ready(user, vm, "remove")
    snapshots = list(vm.snapshots.all())
    if keep_disks and snapshots:
        raise NotPossible(f"{vm.name} has snapshots, whose layers are no use without it: delete them first, or remove its disks, too.")
    locks = [] if keep_disks else [*own_disks(vm), *snapshots]
    return submit("vm.remove", user=user, target=vm, title=f"Remove {vm.name}", params={"keep_disks": keep_disks}, locks=locks)


def own_disks(vm: VM) -> list[Disk]:
    """The disks that go with the VM: data disks in our storage domains that no other VM and no template uses."""
    candidates = Disk.objects.filter(attachments__vm=vm, content=DiskContent.DATA, domain__isnull=False, templates__isnull=True)
    return list(candidates.exclude(attachments__in=_attachments_of_others(vm)).distinct())


def _attachments_of_others(vm: VM) -> Any:
    from vms.models import DiskAttachment

    return DiskAttachment.objects.exclude(vm=vm)


def edit(user: User, vm: VM, changes: dict[str, Any]) -> tuple[VM, Job | None]:
    """Changes fields; while the VM runs, those that need a restart wait as "next run", and more CPUs until they are plugged in.

    Args:
        changes: of name, description, tags, delete_protected, highly_available, priority, restart_by_lease (these three for who may move VMs),
            memory_mib, vcpus, firmware, quota.

    Returns:
        The VM, and the job that redefines its domain or plugs CPUs in, when there is one.
    """
    _ready(user, vm, "edit")
    unknown = set(changes) - set(_NEXT_RUN_FIELDS) - set(_PLAIN_FIELDS) - {"quota"}
    if unknown:
        raise FieldError(sorted(unknown)[0], "This cannot be changed.")
    plain = _clean_plain(vm, {key: value for key, value in changes.items() if key in _PLAIN_FIELDS})
    if plain.keys() & set(_HA_FIELDS):
        require(user, "vm.migrate", vm)  # it claims room on other hosts, and a rank among others' VMs
    hardware = {key: value for key, value in changes.items() if key in _NEXT_RUN_FIELDS}
    _check_hardware(*(hardware.get(field, getattr(vm, field)) for field in _NEXT_RUN_FIELDS))
    with transaction.atomic():
        vm.refresh_from_db(from_queryset=VM.objects.select_for_update())  # another's edit, and what a job did meanwhile
        before = audit.snapshot(vm, *_PLAIN_FIELDS, *_NEXT_RUN_FIELDS, "next_run", "quota")
        quota.take_change(user, vm, hardware)
        if "quota" in changes:
            quota.reassign(user, vm, changes["quota"])
        waiting = {key: value for key, value in {**vm.next_run, **hardware}.items() if value != getattr(vm, key)}
        at_once = waiting if vm.status == VmStatus.DOWN and holder_of(vm) is None else {}
        vm.next_run = {} if at_once else waiting
        for key, value in {**plain, **at_once}.items():
            setattr(vm, key, value)
        vm.rev += 1
        try:
            vm.save(update_fields=[*plain, *at_once, "next_run", "quota", "rev", "updated_at"])
        except IntegrityError:
            raise FieldError("name", f"Cluster {vm.cluster.name} has a VM named {vm.name} already.") from None
        job = None
        if vm.host_id is not None and (at_once or _SHOWN_FIELDS & set(plain)):
            # A domain that runs takes its new definition at its next start.
            job = submit("vm.edit", user=user, target=vm, title=f"Edit {vm.name}")
        elif "vcpus" in hardware and can_plug(vm) and holder_of(vm) is None:
            job = submit("vm.plug_cpus", user=user, target=vm, title=f"Plug CPUs into {vm.name}", params={"vcpus": vm.next_run["vcpus"]})
        change = audit.changes(before, audit.snapshot(vm, *before))
        record("vm.edited", f"{vm.name}: {', '.join(sorted(changes)) or 'nothing'} changed", obj=vm, user=user, job=job, change=change)
        publish("vm", vm.pk, "changed", vm.rev, {"status": vm.status, "next_run": bool(vm.next_run)})
    return vm, job


def _clean_plain(vm: VM, changes: dict[str, Any]) -> dict[str, Any]:
    clean = dict(changes)
    if "name" in clean:
        clean["name"] = valid_name(clean["name"])
        if VM.objects.filter(cluster=vm.cluster_id, name__iexact=clean["name"]).exclude(pk=vm.pk).exists():
            raise FieldError("name", f"Cluster {vm.cluster.name} has a VM named {clean['name']} already.")
    if "description" in clean:
        clean["description"] = valid_text(clean["description"])
    if "tags" in clean:
        clean["tags"] = _valid_tags(clean["tags"])
    if "priority" in clean and clean["priority"] not in Priority.values:
        raise FieldError("priority", f"There is no such priority; there are {', '.join(map(str, Priority.values))}.")
    if clean.get("restart_by_lease") and (reason := lease.why_not(vm)):
        raise FieldError("restart_by_lease", reason)
    return {key: value for key, value in clean.items() if getattr(vm, key) != value}


def bulk(user: User, vms: Iterable[VM], action: str, **options: Any) -> list[BulkResult]:
    """The action on each VM of a selection; one that cannot do it stops none of the others."""
    results = []
    for vm in vms:
        try:
            results.append(BulkResult(vm, _one_of_many(user, vm, action, **options)))
        except (NotPossible, ObjectBusy, PermissionDenied, FieldError) as error:
            if isinstance(error, PermissionDenied):
                audit.refused(error, user=user, action=f"vm.{action}", obj=vm)
            results.append(BulkResult(vm, None, " ".join(error.messages) if isinstance(error, FieldError) else str(error)))
    return results


def _one_of_many(user: User, vm: VM, action: str, **options: Any) -> Job:
    if action == "remove":
        return remove(user, vm, bool(options.get("keep_disks")))
    if action == "migrate":
        return migration.migrate(user, vm)  # each to the host that is best for it
    return act(user, vm, action, **options)


def make_template(user: User, vm: VM, name: str, description: str = "", version_of: Template | None = None) -> Job:
    """A template with full copies of the VM's disks.

    Args:
        version_of: it becomes this one's next version, with its name and its grants; `name` does not count then.
    """
    if vm is None:
        raise FieldError("vm", "Name the VM.")
    _ready(user, vm, "template")
    require(user, "template.create", vm.cluster.data_center)
    if not vm.attachments.filter(device="disk", disk__domain__isnull=False).exists():
        raise NotPossible(f"{vm.name} has no disk in a storage domain: there is nothing to make a template of.")
    if version_of is not None:
        require(user, "template.edit", version_of)
        if version_of.data_center_id != vm.cluster.data_center_id:
            raise FieldError("version_of", f"Template {version_of.name} lies in another data center than {vm.name}.")
        name = version_of.name
    else:
        name = valid_name(name)
        if Template.objects.filter(data_center=vm.cluster.data_center_id, name__iexact=name).exists():
            raise FieldError("name", f"A template named {name} exists already: make a new version of it.")
    charged = quota.template_quota(user, vm)
    params = {"name": name, "description": valid_text(description)} | ({"quota": str(charged.pk)} if charged else {})
    if version_of is not None:
        params["version_of"] = str(version_of.pk)
    title = f"Make {'a new version of ' if version_of else ''}template {name} of {vm.name}"
    return submit("template.create", user=user, target=vm, title=title, params=params)


def thin_copies(template: Template) -> list[str]:
    """What would be lost with the template: some of the VMs on its disks, disks without a VM, and VMs that are being made of it."""
    copies = Disk.objects.filter(backing__templates=template).order_by("name").values_list("attachments__vm__name", "name")[:5]
    names = list(dict.fromkeys(vm_name or name for vm_name, name in copies))
    return names or list(template.vms.filter(status=VmStatus.IMAGE_LOCKED).values_list("name", flat=True)[:5])


def remove_template(user: User, template: Template) -> Job:
    """This version alone. Raises NotPossible while disks of VMs are thin copies of its disks."""
    require(user, "template.delete", template)
    if names := thin_copies(template):
        raise NotPossible(f"{template} is in use: thin copies of its disks belong to {', '.join(names)}. Remove these first.")
    return submit("template.remove", user=user, target=template, title=f"Remove template {template}", locks=list(template.disks.all()))


def accept_drift(user: User, vm: VM) -> VM:
    """What somebody changed with virsh becomes what is asked for, as far as a VM has such a field; the rest stays as drift.

    Raises NotPossible when nothing of it can be taken over.
    """
    require(user, "vm.edit", vm)
    found = {entry["field"]: entry["found"] for entry in vm.drift if entry["field"] in ACCEPTABLE and str(entry["found"]).isdecimal()}
    rest = [entry for entry in vm.drift if entry["field"] not in found]
    if not found:
        names = ", ".join(entry["field"] for entry in rest) or "nothing differs"
        raise NotPossible(f"This cannot be taken over into {vm.name}: {names}. Revert it, or leave it.")
    with transaction.atomic():
        vm.refresh_from_db(from_queryset=VM.objects.select_for_update())
        before = audit.snapshot(vm, *found)
        quota.take_change(user, vm, {key: int(value) for key, value in found.items()})
        for key, value in found.items():
            setattr(vm, key, int(value))
        _check_hardware(vm.memory_mib, vm.vcpus, vm.firmware)
        vm.drift, vm.rev = rest, vm.rev + 1
        vm.save(update_fields=[*found, "drift", "rev"])
        change = audit.changes(before, audit.snapshot(vm, *found))
        record(
            "vm.drift_accepted", f"{', '.join(found)} of {vm.name}, changed outside of Vireo, accepted", obj=vm, user=user, change=change
        )
    publish("vm", vm.pk, "changed", vm.rev)
    return vm


def revert_drift(user: User, vm: VM) -> Job:
    """The domain is defined as Vireo wants it; a running VM takes it at its next start."""
    require(user, "vm.edit", vm)
    if vm.host is None:
        raise NotPossible(f"{vm.name} is defined on no host.")
    return submit("vm.edit", user=user, target=vm, title=f"Revert changes to {vm.name}")
