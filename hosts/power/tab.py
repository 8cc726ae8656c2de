"""What the Power tab of a host shows."""

from typing import Any

from django.urls import reverse

from hosts.models import Host
from hosts.power import can, catalogue, state
from hosts.power.models import HostPower, PowerAgent
from hosts.services import blockers
from jobs.engine import holder_of
from jobs.models import Job
from portal.pages.actions import Entry, entries

_PAST = ("host.fence", "host.confirm_off", "host.power_off", "host.power_on", "host.power_restart")
_CONFIRM = {
    "power_on": "{host} is switched on by its fence agents.",
    "power_off": "{host} is switched off at once. {guests}",
    "power_restart": "{host} is switched off at once, and on again. {guests}",
}


def note_of(host: Host) -> HostPower | None:
    """Of a silent host: what was decided about it."""
    return state.of(host) if host.status == "non_responsive" else None


def context(host: Host, permissions: frozenset[str]) -> dict[str, Any]:
    agents = list(host.power_agents.all())
    return {
        "power": state.of(host),
        "agents": [(agent, _reaches(agent)) for agent in agents],
        "power_entries": _entries(host, permissions, len(agents)),
        "past": Job.objects.filter(object_type="host", object_id=host.pk, kind__in=_PAST)[:20],
        "cluster": host.cluster,
        "agents_installed": bool(catalogue.installed()),
    }


def _entries(host: Host, permissions: frozenset[str], agents: int) -> list[Entry]:
    running = len(blockers(host))
    verdicts = can.verdicts(host, permissions, agents=agents, running=running, busy=holder_of(host))
    guests = "What may still run there ends, and counts as down." if running else "Nothing runs there."
    return entries(
        can.ACTIONS,
        verdicts,
        lambda name: reverse("hosts:power-action", args=[host.pk, name]),
        opens={"confirm_off": reverse("hosts:power-confirm", args=[host.pk])},
        confirm={name: words.format(host=host.name, guests=guests) for name, words in _CONFIRM.items()},
        quick=("power_status", "power_on"),
    )


def _reaches(agent: PowerAgent) -> str:
    """Where an agent goes, in a few words."""
    options = agent.options
    place = options.get("ip", "")
    if port := options.get("ipport"):
        place = f"[{place}]:{port}" if ":" in place else f"{place}:{port}"
    which = options.get("plug") or options.get("systems_uri", "").rpartition("/")[2]
    return f"{place} · {which}" if which else place
