"""What can be done with a host's power now, and why not. No queries."""

from hosts.models import Host, HostStatus
from jobs.models import Job
from portal.verdict import YES, Action, Verdict, no

_OUT_OF_USE = frozenset(
    {HostStatus.MAINTENANCE, HostStatus.NON_RESPONSIVE, HostStatus.NON_OPERATIONAL, HostStatus.INSTALLING, HostStatus.DOWN}
)

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("power_status", "Ask for its state", "refresh", "host.maintain", frozenset(), "ask"),
        Action("power_on", "Power on", "player-play", "host.maintain", _OUT_OF_USE - {HostStatus.NON_OPERATIONAL}, "power"),
        Action("power_restart", "Restart", "rotate", "host.maintain", _OUT_OF_USE, "power", danger=True),
        Action("power_off", "Power off", "plug-off", "host.maintain", _OUT_OF_USE, "power", danger=True),
        Action(
            "confirm_off",
            "Confirm it was rebooted…",
            "alert-triangle",
            "host.maintain",
            frozenset({HostStatus.NON_RESPONSIVE}),
            "power",
            danger=True,
        ),
    )
}


def check(action: str, host: Host, *, agents: int, running: int = 0, busy: Job | None = None) -> Verdict:
    """Whether the host's power can be switched so in its present state.

    Args:
        agents: how many fence agents it has.
        running: VMs that run there, or may. On a host that does not answer they are lost already.
        busy: the job that holds the host, if any.
    """
    known = ACTIONS[action]
    if busy is not None:
        return no(f"{host.name} is busy: «{busy.title}» runs.")
    if not agents and action != "confirm_off":
        return no(f"{host.name} has no fence agent: add one first.")
    if known.states and host.status not in known.states:
        if action == "confirm_off":
            return no(
                f"{host.name} is {host.get_status_display().lower()}: only of a host that does not answer must a person say that it is off."
            )
        if host.status in (HostStatus.UP, HostStatus.PREPARING_FOR_MAINTENANCE) and action != "power_on":
            return no(f"Put {host.name} into maintenance first.")
        return no(f"{host.name} is {host.get_status_display().lower()}.")
    if action in ("power_off", "power_restart") and running and host.status not in (HostStatus.NON_RESPONSIVE, HostStatus.DOWN):
        return no(f"{running} VM{'s' if running > 1 else ''} may still run on {host.name}.")
    return YES


def verdicts(
    host: Host, permissions: frozenset[str], *, agents: int, running: int = 0, busy: Job | None = None
) -> dict[str, Verdict | None]:
    """Each action's verdict; None: this user may never do it, so it is not shown."""
    return {
        name: check(name, host, agents=agents, running=running, busy=busy) if action.permission in permissions else None
        for name, action in ACTIONS.items()
    }
