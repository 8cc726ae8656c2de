"""All of a host's agents together: it is off when every one says so, and not before."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hosts.models import Host
from hosts.power.agents import Answer, Call, run
from hosts.power.models import HostPower, PowerAgent, PowerState

CONFIRM_TRIES = 5
CONFIRM_SECONDS = 2.0
_Runner = Callable[[Call, str], Answer]


@dataclass(frozen=True)
class Outcome:
    """What the agents answered together. `words`: one sentence for each that was asked."""

    ok: bool
    state: PowerState = PowerState.UNKNOWN
    words: str = ""


def calls(host: Host) -> list[list[Call]]:
    """The host's agents in their order; those of one group run at the same time."""
    power = HostPower.objects.select_related("proxy").filter(host=host).first()
    proxy = power.proxy if power else None
    groups: list[list[Call]] = []
    for agent in PowerAgent.objects.filter(host=host):
        call = Call(agent.agent, agent.options, agent.secrets, proxy)
        if agent.with_previous and groups:
            groups[-1].append(call)
        else:
            groups.append([call])
    return groups


def status(host: Host, ask: _Runner = run) -> Outcome:
    """On when any agent says so, off when all do; else it is not known."""
    groups = calls(host)
    if not groups:
        return Outcome(False, words=f"{host.name} has no fence agent.")
    answers = _together([call for group in groups for call in group], "status", ask)
    words = _words(answers)
    states = {answer.state for _call, answer in answers}
    if states == {"off"}:
        return Outcome(True, PowerState.OFF, words)
    if "on" in states:
        return Outcome(True, PowerState.ON, words)
    return Outcome(False, words=words)


def switch(host: Host, action: str, ask: _Runner = run) -> Outcome:
    """Asks all agents for "on" or "off", group by group; the first group that fails ends it."""
    said = []
    for group in calls(host):
        answers = _together(group, action, ask)
        said += answers
        if not all(answer.ok for _call, answer in answers):
            return Outcome(False, words=_words(said))
    if not said:
        return Outcome(False, words=f"{host.name} has no fence agent.")
    return Outcome(True, words=_words(said))


def off(host: Host, ask: _Runner = run, pause: Callable[[float], None] = time.sleep) -> Outcome:
    """Switches off, and asks every agent until all say that it is off. Safe to repeat. Not `ok` until that is confirmed."""
    done = switch(host, "off", ask)
    if not done.ok:
        return done
    for attempt in range(CONFIRM_TRIES):
        seen = status(host, ask)
        if seen.state == PowerState.OFF:
            return seen
        if attempt + 1 < CONFIRM_TRIES:
            pause(CONFIRM_SECONDS)
    return Outcome(False, seen.state, f"{done.words} But it is not off: {seen.words}")


def _together(group: list[Call], action: str, ask: _Runner) -> list[tuple[Call, Answer]]:
    if len(group) == 1:
        return [(group[0], ask(group[0], action))]
    with ThreadPoolExecutor(len(group), thread_name_prefix="fence") as pool:
        return list(zip(group, pool.map(lambda call: ask(call, action), group), strict=True))


def _words(answers: list[tuple[Call, Answer]]) -> str:
    return " ".join(f"{call.agent}: {answer.words.rstrip('.') or ('done' if answer.ok else 'it failed')}." for call, answer in answers)
