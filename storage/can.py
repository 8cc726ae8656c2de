"""What a storage domain or a disk can do now, and why not. No queries."""

from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no
from storage.models import Disk, DiskStatus, SpaceLevel, StorageDomain, StorageStatus

# A storage that may be lost: only then is it forgotten with all that is known of it.
_GONE = frozenset({StorageStatus.MAINTENANCE, StorageStatus.INACTIVE, StorageStatus.UNATTACHED, StorageStatus.UNKNOWN})
DOMAIN_ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action(
            "activate",
            "Activate",
            "player-play",
            "storage_domain.edit",
            frozenset({StorageStatus.MAINTENANCE, StorageStatus.INACTIVE, StorageStatus.UNKNOWN, StorageStatus.ACTIVE}),
            "state",
        ),
        Action(
            "maintenance",
            "Maintenance",
            "tool",
            "storage_domain.edit",
            frozenset({StorageStatus.ACTIVE, StorageStatus.INACTIVE, StorageStatus.UNKNOWN}),
            "state",
        ),
        Action("attach", "Attach", "plug", "storage_domain.edit", frozenset({StorageStatus.UNATTACHED}), "state"),
        Action(
            "detach", "Detach", "plug-off", "storage_domain.edit", frozenset({StorageStatus.MAINTENANCE, StorageStatus.INACTIVE}), "state"
        ),
        Action("upload", "Upload image", "upload", "disk.create", frozenset({StorageStatus.ACTIVE}), "disks"),
        Action("create-disk", "New disk", "plus", "disk.create", frozenset({StorageStatus.ACTIVE}), "disks"),
        Action("scan", "Look for volumes", "search", "storage_domain.edit", frozenset({StorageStatus.ACTIVE}), "disks"),
        Action(
            "take-in", "Volumes that are no disks", "database-import", "storage_domain.edit", frozenset({StorageStatus.ACTIVE}), "disks"
        ),
        Action("locks", "Try locks", "lock", "storage_domain.edit", frozenset({StorageStatus.ACTIVE}), "disks"),
        Action("edit", "Edit", "pencil", "storage_domain.edit", group="change"),
        Action("reconnect", "Change connection", "link", "storage_domain.edit", frozenset({StorageStatus.UNATTACHED}), "change"),
        Action(
            "remove",
            "Remove",
            "trash",
            "storage_domain.delete",
            frozenset({StorageStatus.MAINTENANCE, StorageStatus.INACTIVE, StorageStatus.UNATTACHED, StorageStatus.ACTIVE}),
            "remove",
            danger=True,
        ),
        Action("destroy", "Destroy", "alert-triangle", "storage_domain.delete", _GONE, "remove", danger=True),
    )
}
DISK_ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("edit", "Edit", "pencil", "disk.edit", group="change"),
        Action("remove", "Remove", "trash", "disk.delete", frozenset({DiskStatus.OK, DiskStatus.ILLEGAL}), "remove", danger=True),
    )
}


IN_SNAPSHOTS = "{disk} belongs to snapshots of its VM: delete them first."


def check_domain(action: str, domain: StorageDomain, *, busy: Job | None = None, disks: int = 0) -> Verdict:
    """Whether the storage domain can do the action.

    Args:
        action: a key of DOMAIN_ACTIONS.
        busy: the job that holds its lock.
        disks: how many disks lie in it.
    """
    known = DOMAIN_ACTIONS[action]
    if action == "edit":
        return YES
    if busy is not None:
        return no(f"{domain.name} is busy: «{busy.title}» runs.")
    if known.states and domain.status not in known.states:
        return no(f"{domain.name} is {domain.get_status_display().lower()}.")
    if action == "locks" and not domain.has_locks:
        return no(f"{domain.name} is no shared file system: there are no locks that hosts could see of each other.")
    if action in ("upload", "create-disk") and (reason := _kind_refuses(action, domain)):
        return no(reason)
    if action == "remove" and disks:
        return no(f"{disks} disk{'s lie' if disks > 1 else ' lies'} in {domain.name}: remove {'them' if disks > 1 else 'it'} first.")
    return YES


def _kind_refuses(action: str, domain: StorageDomain) -> str:
    if action == "upload" and not domain.traits.files:
        return f"ISO images are files, and {domain.name} keeps none."
    if not domain.traits.makes:
        return f"The disks of {domain.name} are the storage's own LUNs: look for them there, and take them in."
    if domain.space_level == SpaceLevel.CRITICAL:
        return f"{domain.name} is out of space."
    return ""


def check_disk(
    action: str,
    disk: Disk,
    *,
    busy: Job | None = None,
    vms: list[str] | None = None,
    templates: list[str] | None = None,
    children: int = 0,
    layers: bool = False,
) -> Verdict:
    """Whether the disk can do the action.

    Args:
        action: a key of DISK_ACTIONS.
        busy: the job that holds its lock.
        vms, templates: names of those that have it.
        children: how many thin copies build on it.
        layers: snapshots of its VM have parts of it.
    """
    known = DISK_ACTIONS[action]
    if action == "edit":
        return YES
    if busy is not None:
        return no(f"{disk.name} is busy: «{busy.title}» runs.")
    if disk.status not in known.states:
        return no(f"{disk.name} is {disk.get_status_display().lower()}.")
    if vms:
        return no(f"{disk.name} is attached to {', '.join(vms[:3])}: detach it first.")
    if templates:
        return no(f"{disk.name} belongs to template {', '.join(templates[:3])}.")
    if children:
        return no(f"{children} thin cop{'ies build' if children > 1 else 'y builds'} on {disk.name}.")
    if layers:
        return no(IN_SNAPSHOTS.format(disk=disk.name))
    return YES


def domain_verdicts(
    domain: StorageDomain, permissions: frozenset[str], *, busy: Job | None = None, disks: int = 0
) -> dict[str, Verdict | None]:
    """Each action's verdict; None: this user may never do it, so it is not shown."""
    return {
        name: check_domain(name, domain, busy=busy, disks=disks) if action.permission in permissions else None
        for name, action in DOMAIN_ACTIONS.items()
    }


def disk_verdicts(disk: Disk, permissions: frozenset[str], **known: object) -> dict[str, Verdict | None]:
    """Like domain_verdicts; `known` as for check_disk."""
    return {name: check_disk(name, disk, **known) if action.permission in permissions else None for name, action in DISK_ACTIONS.items()}  # type: ignore[arg-type]
