"""What can be done to a disk beside editing and removing it, and why not. No queries."""

from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no
from storage.can import IN_SNAPSHOTS
from storage.models import Disk, DiskContent, DiskStatus

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("resize", "Resize…", "arrows-maximize", "disk.edit", frozenset({DiskStatus.OK}), "change"),
        Action("move", "Move…", "send", "disk.edit", frozenset({DiskStatus.OK}), "place"),
        Action("copy", "Copy…", "copy", "disk.view", frozenset({DiskStatus.OK}), "place"),
        Action("sparsify", "Give back unused space", "arrows-minimize", "disk.edit", frozenset({DiskStatus.OK}), "place"),
        Action("share", "Let several VMs have it", "users", "disk.edit", frozenset({DiskStatus.OK}), "share"),
        Action("unshare", "Make it one VM's alone", "user", "disk.edit", frozenset({DiskStatus.OK}), "share"),
    )
}
_VERBS = {"resize": "grow", "move": "move", "sparsify": "be written anew"}


def check(
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
        action: a key of ACTIONS.
        busy: the job that holds its lock.
        vms, templates: names of those that have it.
        children: how many thin copies build on it.
        layers: snapshots of its VM have parts of it.
    """
    if busy is not None:
        return no(f"{disk.name} is busy: «{busy.title}» runs.")
    if disk.status not in ACTIONS[action].states:
        return no(f"{disk.name} is {disk.get_status_display().lower()}.")
    if disk.domain is None:
        return no(f"{disk.name} lies outside of Vireo's storage.")
    if layers and action != "copy":
        return no(IN_SNAPSHOTS.format(disk=disk.name))
    if action in ("copy", "share", "unshare"):
        return YES
    if action == "resize" and disk.content == DiskContent.ISO:
        return no("An ISO image has the size that it has.")
    if action == "sparsify" and not disk.domain.traits.files:
        return no(f"{disk.domain.name} gives each disk its whole space: there is nothing to give back.")
    if action == "sparsify" and disk.backing_id is not None:
        return no(f"{disk.name} is a thin copy: it holds only what differs from its template.")
    if templates:
        return no(f"{disk.name} belongs to template {', '.join(templates[:3])}.")
    if children:
        return no(f"{children} thin cop{'ies build' if children > 1 else 'y builds'} on {disk.name}: it cannot {_VERBS[action]}.")
    if action == "move" and disk.shareable and len(vms or ()) > 1:
        return no(f"{disk.name} is shared by {', '.join((vms or [])[:3])}: detach it from all but one first.")
    return YES


def verdicts(disk: Disk, permissions: frozenset[str], **known: object) -> dict[str, Verdict | None]:
    """Each action's verdict; None: this user may never do it, so it is not shown."""
    return {name: check(name, disk, **known) if action.permission in permissions else None for name, action in ACTIONS.items()}  # type: ignore[arg-type]
