"""The only writer of what is observed about a host's power: on or off, what was decided about fencing it, and how often that failed."""

from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from hosts import observe
from hosts.models import Host
from hosts.power.models import HostPower
from hosts.power.switch import Outcome

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 30, 1800


def of(host: Host) -> HostPower:
    """What is known; of a host of which nothing is, the defaults, unsaved."""
    return HostPower.objects.select_related("proxy").filter(host=host).first() or HostPower(host=host)


def row(host: Host) -> HostPower:
    """The host's row, made when there is none yet."""
    return HostPower.objects.select_related("proxy").get_or_create(host=host)[0]


def seen(host: Host, outcome: Outcome) -> None:
    """What the agents answered last."""
    reason = "" if outcome.ok else outcome.words
    row(host)
    HostPower.objects.filter(host=host).update(state=outcome.state, state_reason=reason, state_at=timezone.now())
    observe.power_changed(host)


def decided(host: Host, decision: str, reason: str) -> bool:
    """Keeps why a silent host is fenced, or not. True when the decision is another than before, whatever its words."""
    if not decision and not HostPower.objects.filter(host=host).exclude(decision="").exists():
        return False
    row(host)
    now = timezone.now()
    rows = HostPower.objects.filter(host=host)
    if rows.exclude(decision=decision).update(decision=decision, decision_reason=reason, decided_at=now):
        observe.power_changed(host)
        return True
    if rows.exclude(decision_reason=reason).update(decision_reason=reason):
        observe.power_changed(host)
    return False


def fencing_failed(host: Host) -> None:
    """Not tried again at once, and each time later."""
    power = row(host)
    pause = min(FIRST_RETRY_SECONDS * 2 ** min(power.failures, 16), LAST_RETRY_SECONDS)
    HostPower.objects.filter(host=host).update(failures=F("failures") + 1, retry_at=timezone.now() + timedelta(seconds=pause))


def fencing_done(host: Host) -> None:
    HostPower.objects.filter(host=host).update(failures=0, retry_at=None)
