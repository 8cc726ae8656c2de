"""One placement: which host, why not each of the others, and what each was worth."""

from dataclasses import dataclass
from typing import NamedTuple

from hosts.scheduling.filters import FILTERS
from hosts.scheduling.weights import WEIGHTS, Score
from hosts.scheduling.world import Guest, HostView, World


class Verdict(NamedTuple):
    """What was thought of one host.

    Args:
        refused_by: the filter that refused it, "" when none did.
        reason: why, for the user.
        scores: how well it suits by each of the decision's weights, 0 to 1.
        total: the scores, each times its factor.
    """

    host: HostView
    refused_by: str = ""
    reason: str = ""
    scores: tuple[float, ...] = ()
    total: float = 0.0


@dataclass(frozen=True)
class Decision:
    """Args: chosen: None when no host can take the guest. weights: name and factor. verdicts: best first, then the refused by name."""

    guest: Guest
    chosen: HostView | None
    weights: tuple[tuple[str, float], ...]
    verdicts: tuple[Verdict, ...]

    @property
    def why_none(self) -> str:
        """Each host and what is wrong with it, the common reasons together."""
        reasons: dict[str, list[str]] = {}
        for verdict in self.verdicts:
            if verdict.refused_by:
                reasons.setdefault(verdict.reason, []).append(verdict.host.name)
        texts = [
            f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {why}" for why, names in reasons.items()
        ]
        return "; ".join(texts) or "it has no hosts"


def decide(world: World, guest: Guest) -> Decision:
    """Every host is judged. The same world gives the same decision: equals are told apart by name, then id."""
    world = world.without(guest)
    checks = [(name, check) for name, make in FILTERS.items() if (check := make(world, guest)) is not None]
    fitting: list[HostView] = []
    refused: list[Verdict] = []
    for host in world.by_name:
        for name, check in checks:
            if reason := check(host):
                refused.append(Verdict(host, name, reason))
                break
        else:
            fitting.append(host)
    weights = [
        (name, factor, score)
        for name, factor in world.policy.weights.items()
        if factor and name in WEIGHTS and (score := WEIGHTS[name](world, guest)) is not None
    ]
    ranked = _ranked(fitting, [(factor, score) for _name, factor, score in weights])
    refused.sort(key=lambda verdict: (verdict.host.name, verdict.host.id))
    return Decision(guest, ranked[0].host if ranked else None, tuple((name, factor) for name, factor, _ in weights), (*ranked, *refused))


def _ranked(hosts: list[HostView], scorers: list[tuple[float, Score]]) -> list[Verdict]:
    verdicts = []
    for host in hosts:
        scores = tuple([score(host) for _factor, score in scorers])
        verdicts.append(Verdict(host, "", "", scores, sum([factor * value for (factor, _), value in zip(scorers, scores, strict=True)])))
    verdicts.sort(key=lambda verdict: verdict.total, reverse=True)  # stable: equals stay by name
    return verdicts
