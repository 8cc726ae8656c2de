"""The verbs on a host's power: its fence agents, asking and switching it, and saying by hand that it is off."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import log as audit
from events.log import record
from hosts import observe
from hosts.models import Cluster, Host, HostTransport
from hosts.power import agents, can, catalogue, state
from hosts.power.models import PowerAgent
from hosts.services import blockers
from jobs import engine
from jobs.engine import holder_of
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.live import publish

# A person waits for a test.
TEST_SECONDS = 20
MOST_AGENTS = 8
SWITCHES = {
    "power_status": ("host.power_status", "Ask for the power of {host}"),
    "power_on": ("host.power_on", "Power on {host}"),
    "power_off": ("host.power_off", "Power off {host}"),
    "power_restart": ("host.power_restart", "Restart {host}"),
}


# -- agents


def add_agent(user: User, host: Host, agent: str, values: Mapping[str, Any], with_previous: bool = False) -> PowerAgent:
    """Adds a fence agent after those that the host has.

    Args:
        values: its options, the secret ones too.

    Raises:
        PermissionDenied, FieldError.
    """
    require(user, "host.edit", host)
    options, secrets = catalogue.clean(catalogue.agent(agent), dict(values))
    with transaction.atomic():
        _lock(host)
        last = host.power_agents.order_by("-position").first()
        if host.power_agents.count() >= MOST_AGENTS:
            raise FieldError("agent", f"A host has at most {MOST_AGENTS} fence agents.")
        added = PowerAgent(
            host=host, agent=agent, options=options, with_previous=with_previous, position=last.position + 1 if last is not None else 1
        )
        added.secrets = secrets
        added.save(force_insert=True)
        _changed(user, host, "agent_added", f"Fence agent {agent} of {host.name} was added", audit.changes({}, _shown(added)))
    return added


def edit_agent(user: User, row: PowerAgent, values: Mapping[str, Any], with_previous: bool | None = None) -> PowerAgent:
    """Changes an agent's options; a secret that is left empty stays as it is, unless the agent is now to reach something else.

    Raises:
        PermissionDenied, FieldError.
    """
    host = row.host
    require(user, "host.edit", host)
    options, secrets = catalogue.clean(catalogue.agent(row.agent), dict(values))
    secrets = kept_secrets(row, options, secrets)
    before = _shown(row)
    with transaction.atomic():
        row.options, row.secrets = options, secrets
        row.with_previous = row.with_previous if with_previous is None else with_previous
        row.save()
        change = audit.changes(before, _shown(row))
        _changed(user, host, "agent_edited", f"Fence agent {row.agent} of {host.name} was changed", change)
    return row


def kept_secrets(row: PowerAgent, options: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The secrets that an agent has after an edit. Stored ones go nowhere else than where they were given for. Raises FieldError."""
    stored = row.secrets
    missing = [name for name in stored if name not in secrets]
    moved = any(row.options.get(name) != options.get(name) for name in catalogue.DESTINATION)
    if missing and moved:
        raise FieldError(missing[0], "Give this again: the agent is to reach another device, or in another way.")
    return {**stored, **secrets}


def remove_agent(user: User, row: PowerAgent) -> None:
    """Raises PermissionDenied."""
    host = row.host
    require(user, "host.edit", host)
    with transaction.atomic():
        row.delete()
        _changed(user, host, "agent_removed", f"Fence agent {row.agent} of {host.name} was removed", audit.changes(_shown(row), {}))


def move_agent(user: User, row: PowerAgent, up: bool) -> None:
    """One place up or down in the order in which the host's agents run. Raises PermissionDenied."""
    host = row.host
    require(user, "host.edit", host)
    with transaction.atomic():
        _lock(host)
        rows = list(host.power_agents.all())
        place = next((place for place, other in enumerate(rows) if other.pk == row.pk), 0)
        target = place + (-1 if up else 1)
        if not 0 <= target < len(rows):
            return
        rows[place], rows[target] = rows[target], rows[place]
        for position, each in enumerate(rows, start=1):
            PowerAgent.objects.filter(pk=each.pk).update(position=position)
        _changed(user, host, "agent_moved", f"The order of {host.name}'s fence agents was changed")


def configure(user: User, host: Host, enabled: bool, proxy: Host | None) -> None:
    """Whether Vireo may fence the host, and which host runs its agents.

    Raises:
        PermissionDenied: on the proxy, too: commands run there.
        FieldError: it is not reached by SSH, or is the host itself.
    """
    require(user, "host.edit", host)
    power = state.row(host)
    if proxy is not None and proxy.pk != power.proxy_id:
        require(user, "host.edit", proxy)
        if proxy.transport != HostTransport.SSH:
            raise FieldError("proxy", f"{proxy.name} is not reached by SSH, so it cannot run fence agents.")
        if proxy.pk == host.pk:
            raise FieldError("proxy", "A host that does not answer cannot switch itself off.")
    before = {"enabled": power.enabled, "proxy": str(power.proxy or "")}
    power.enabled, power.proxy = enabled, proxy
    with transaction.atomic():
        power.save(update_fields=["enabled", "proxy"])
        change = audit.changes(before, {"enabled": enabled, "proxy": str(proxy or "")})
        _changed(user, host, "edited", f"Power management of {host.name} was changed", change)


def test(user: User, host: Host, agent: str, values: Mapping[str, Any], row: PowerAgent | None = None) -> agents.Answer:
    """Asks an agent for the state, with options that need not be stored yet. Waits at most TEST_SECONDS; changes nothing.

    Args:
        row: the stored agent that is being edited: secrets that are left empty are taken from it.

    Raises:
        PermissionDenied, FieldError.
    """
    require(user, "host.edit", host)
    options, secrets = catalogue.clean(catalogue.agent(agent), dict(values))
    if row is not None:
        secrets = kept_secrets(row, options, secrets)
    answer = agents.run(agents.Call(agent, options, secrets, state.of(host).proxy), "status", TEST_SECONDS)
    words = f"it is {answer.state}" if answer.ok else "it failed"
    record("host.power_tested", f"Fence agent {agent} of {host.name} was tested: {words}", obj=host, user=user)
    return answer


# -- the cluster's policy


POLICY = (
    "fencing_enabled",
    "fence_after_seconds",
    "fence_skip_percent",
    "fence_skip_if_guests_answer",
    "fence_skip_if_storage_written",
    "fence_kdump_seconds",
    "fence_restart",
)
_LIMITS = {"fence_after_seconds": (5, 3600), "fence_skip_percent": (1, 100), "fence_kdump_seconds": (0, 3600)}


def set_fencing_policy(user: User, cluster: Cluster, changes: Mapping[str, Any]) -> Cluster:
    """Changes some of POLICY. Raises PermissionDenied, FieldError."""
    require(user, "cluster.edit", cluster)
    for name, value in changes.items():
        if name not in POLICY:
            raise FieldError(name, "This cannot be changed.")
        least, most = _LIMITS.get(name, (0, 1))
        if not least <= int(value) <= most:
            raise FieldError(name, f"From {least} to {most}.")
    before = audit.stored(cluster, *POLICY)
    for name, value in changes.items():
        setattr(cluster, name, value)
    with transaction.atomic():
        cluster.rev += 1
        cluster.save(update_fields=[*changes, "rev", "updated_at"])
        publish("cluster", cluster.pk, "changed", cluster.rev)
        change = audit.changes(before, audit.snapshot(cluster, *POLICY))
        record("cluster.fencing_edited", f"The fencing policy of {cluster.name} was changed", obj=cluster, user=user, change=change)
    return cluster


# -- power


def switch(user: User, host: Host, action: str) -> Job:
    """power_status, power_on, power_off or power_restart, as a job.

    Raises:
        PermissionDenied, NotPossible, ObjectBusy.
    """
    kind, title = SWITCHES[action]
    require(user, can.ACTIONS[action].permission, host)
    _ensure(action, host)
    return engine.submit(kind, user=user, target=host, title=title.format(host=host.name))


def confirm_off(user: User, host: Host, name: str) -> Job:
    """A person says that a silent host was switched off or rebooted, so that nothing runs there any more.

    Args:
        name: the host's name, typed: if the person is wrong, its guests run twice and destroy their disks.

    Raises:
        PermissionDenied, NotPossible, ObjectBusy, FieldError.
    """
    require(user, "host.maintain", host)
    if name.strip() != host.name:
        raise FieldError("name", f"Type the host's name, {host.name}, to confirm.")
    _ensure("confirm_off", host)
    return engine.submit("host.confirm_off", user=user, target=host, title=f"{host.name} was rebooted, as confirmed by hand")


def _ensure(action: str, host: Host) -> None:
    verdict = can.check(action, host, agents=host.power_agents.count(), running=len(blockers(host)), busy=holder_of(host))
    if not verdict:
        raise NotPossible(verdict.reason)


def _lock(host: Host) -> None:
    """Two changes of one host's order at once come one after the other."""
    Host.objects.select_for_update().only("pk").get(pk=host.pk)


def _changed(user: User, host: Host, what: str, words: str, change: audit.Change | None = None) -> None:
    record(f"host.power_{what}", words, obj=host, user=user, change=change)
    observe.power_changed(host)


def _shown(row: PowerAgent) -> dict[str, Any]:
    """What the audit log holds of an agent: its options, and which secrets are set."""
    return {"agent": row.agent, **row.options, "with_previous": row.with_previous, **dict.fromkeys(row.secrets, "set")}
