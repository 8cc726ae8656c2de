"""What a network can do now, and why not. No queries."""

from jobs.models import Job
from networks.models import Network
from portal.verdict import YES, Action, Verdict, no

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("edit", "Edit", "pencil", "network.edit", group="change"),
        Action("apply", "Apply to hosts", "refresh", "network.edit", group="change"),
        Action("remove", "Remove", "trash", "network.delete", group="remove", danger=True),
    )
}


def check(action: str, network: Network, *, busy: Job | None = None, nics: int = 0) -> Verdict:
    """Whether the network can do the action.

    Args:
        action: a key of ACTIONS.
        busy: the job that holds its lock.
        nics: how many NICs of VMs are on it.
    """
    if busy is not None and action != "edit":
        return no(f"{network.name} is busy: «{busy.title}» runs.")
    if action == "remove" and nics:
        return no(
            f"{nics} NIC{'s of VMs are' if nics > 1 else ' of a VM is'} on {network.name}: move {'them' if nics > 1 else 'it'} to another network first."
        )
    return YES


def verdicts(network: Network, permissions: frozenset[str], *, busy: Job | None = None, nics: int = 0) -> dict[str, Verdict | None]:
    """Each action's verdict; None: this user may never do it, so it is not shown."""
    return {
        name: check(name, network, busy=busy, nics=nics) if action.permission in permissions else None for name, action in ACTIONS.items()
    }
