"""What a host can do now, and why not. Pages, the API and jobs all ask here. No queries."""

from hosts.models import Host, HostStatus
from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no

_REST = frozenset({HostStatus.MAINTENANCE, HostStatus.INSTALLING, HostStatus.NON_RESPONSIVE, HostStatus.NON_OPERATIONAL, HostStatus.DOWN})
_ANSWERING = frozenset({HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.MAINTENANCE})

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("activate", "Activate", "player-play", "host.maintain", _REST, "state"),
        Action(
            "maintenance",
            "Maintenance",
            "tool",
            "host.maintain",
            frozenset({HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.NON_RESPONSIVE}),
            "state",
        ),
        Action("refresh", "Read capabilities", "refresh", "host.edit", _ANSWERING, "state"),
        Action("edit", "Edit", "pencil", "host.edit", frozenset(), "change"),
        Action("enrol", "New enrolment command", "certificate", "host.edit", _REST, "change"),
        Action("remove", "Remove", "trash", "host.delete", _REST, "remove", danger=True),
    )
}

_ALREADY = {
    ("activate", HostStatus.UP): "{host} is up already.",
    ("maintenance", HostStatus.MAINTENANCE): "{host} is in maintenance already.",
    ("remove", HostStatus.UP): "Put {host} into maintenance first.",
    ("enrol", HostStatus.UP): "{host} is up: its certificate works. Put it into maintenance to replace it.",
}


def check(action: str, host: Host, *, busy: Job | None = None) -> Verdict:
    """Whether the host can do the action in its present state.

    Args:
        action: a key of ACTIONS.
        busy: the job that holds the host's lock, if any (jobs.engine.holder_of).
    """
    known = ACTIONS[action]
    if action == "edit":
        return YES
    if busy is not None:
        return no(f"{host.name} is busy: «{busy.title}» runs.")
    if action == "enrol" and host.transport != "tls":
        return no(f"{host.name} is reached by {host.get_transport_display()}, which needs no certificate.")
    if host.status not in known.states:
        sentence = _ALREADY.get((action, HostStatus(host.status)))
        return no(sentence.format(host=host.name) if sentence else f"{host.name} is {host.get_status_display().lower()}.")
    return YES


def verdicts(host: Host, permissions: frozenset[str], *, busy: Job | None = None) -> dict[str, Verdict | None]:
    """Each action's verdict; None: this user may never do it, so it is not shown."""
    return {name: check(name, host, busy=busy) if action.permission in permissions else None for name, action in ACTIONS.items()}
