"""Jobs on a host's power. Nothing counts as off before every fence agent of the host has said so."""

from datetime import timedelta

from django.utils import timezone

from events.log import record
from events.models import Severity
from hosts import observe
from hosts.models import Host, HostStatus
from hosts.power import fencing, state, switch
from hosts.power.models import PowerState
from hosts.services import blockers
from jobs.engine import Context, StepDef, register
from jobs.errors import StepFailed
from jobs.models import Job, JobStatus

# A confirmation that is older than this when the worker goes on is asked for again.
FRESH_SECONDS = 5


def _host(ctx: Context) -> Host:
    host = Host.objects.select_related("cluster").filter(pk=ctx.job.object_id).first()
    if host is None:
        raise StepFailed("The host was removed meanwhile.")
    return host


def _ask(ctx: Context) -> None:
    host = _host(ctx)
    outcome = switch.status(host)
    state.seen(host, outcome)
    ctx.log(outcome.words)
    if not outcome.ok:
        raise StepFailed(f"Whether {host.name} is on is not known.", outcome.words)


def _on(ctx: Context) -> None:
    host = _host(ctx)
    outcome = switch.switch(host, "on")
    ctx.log(outcome.words)
    if not outcome.ok:
        raise StepFailed(f"{host.name} could not be switched on.", outcome.words)
    state.seen(host, switch.status(host))


def _decide(ctx: Context) -> None:
    """What the sweep saw may be over: the policy is asked again, and the host can answer no more from here on."""
    host = _host(ctx)
    if host.status == HostStatus.FENCING:
        return  # a worker that died had come further
    reason = fencing.claim(host)
    if reason:
        raise StepFailed(reason)
    record("host.fencing", f"Host {host.name} does not answer and is being fenced", obj=host, severity=Severity.WARNING, job=ctx.job)


def _begin(ctx: Context) -> None:
    """A silent host is taken out of the watcher's hands; any other must be empty."""
    host = _host(ctx)
    if host.status in (HostStatus.NON_RESPONSIVE, HostStatus.FENCING):
        if observe.fencing(host, "it is being switched off"):
            return
        raise StepFailed(f"{host.name} answers again.")
    if host.status in (HostStatus.UP, HostStatus.PREPARING_FOR_MAINTENANCE):
        raise StepFailed(f"{host.name} is {host.get_status_display().lower()}.")
    if host.status != HostStatus.DOWN and (running := blockers(host)):
        raise StepFailed(f"VMs run on {host.name}: {', '.join(running[:5])}.")


def _give_up(ctx: Context) -> None:
    """Undo of both: nobody knows whether it is off. What is known to be off stays down."""
    host = Host.objects.filter(pk=ctx.job.object_id).first()
    if host is not None:
        observe.not_fenced(host, "it does not answer, and that it is off could not be confirmed")


def _off(ctx: Context) -> None:
    host = _host(ctx)
    ctx.save_facts(tried=True)
    outcome = switch.off(host)
    state.seen(host, outcome)
    ctx.log(outcome.words)
    if not outcome.ok:
        raise StepFailed(f"It is not confirmed that {host.name} is off.", outcome.words)
    ctx.save_facts(confirmed_at=timezone.now().isoformat())


def _down(ctx: Context) -> None:
    """From here on its VMs may start elsewhere. A worker that took over asks the agents once more before."""
    host = _host(ctx)
    confirmed = ctx.facts.get("confirmed_at", "")
    if confirmed < (timezone.now() - timedelta(seconds=FRESH_SECONDS)).isoformat():
        outcome = switch.status(host)
        if outcome.state != PowerState.OFF:
            state.seen(host, outcome)
            raise StepFailed(f"{host.name} was switched off, and then on again by somebody else.", outcome.words)
    ctx.check()
    _is_off(host, f"{host.name} was switched off by its fence agents", ctx.job)
    ctx.save_facts(is_down=True)


def _confirmed(ctx: Context) -> None:
    host = _host(ctx)
    if host.status not in (HostStatus.NON_RESPONSIVE, HostStatus.DOWN):
        raise StepFailed(f"{host.name} is {host.get_status_display().lower()}: it answers, or Vireo is at work on it.")
    who = ctx.job.user.username if ctx.job.user else "somebody"
    _is_off(host, f"{who} confirmed by hand that {host.name} was off", ctx.job)


def _is_off(host: Host, how: str, job: Job) -> None:
    """The host first: while it is not `down`, nothing may count on its VMs being so."""
    from vms.ha.fenced import host_is_off  # vms builds on hosts

    observe.off(host, how, job)
    state.fencing_done(host)
    host_is_off(host, how)


def _on_if_wanted(ctx: Context) -> None:
    if _host(ctx).cluster.fence_restart:
        _on(ctx)


def _fenced(job: Job) -> None:
    """The last word on a fencing. One that failed is tried again, later each time."""
    host = Host.objects.select_related("cluster").filter(pk=job.object_id).first()
    if host is None:
        return
    if job.status == JobStatus.SUCCEEDED:
        record("host.fenced", f"Host {host.name} was fenced", obj=host, severity=Severity.WARNING, job=job)
    elif job.facts.get("is_down"):
        words = f"Host {host.name} was fenced, but did not come on again: {job.error}"
        record("host.fenced_stays_off", words, obj=host, severity=Severity.ERROR, job=job)
    elif job.facts.get("tried"):
        state.fencing_failed(host)
        words = f"Host {host.name} could not be fenced, so its VMs are not started elsewhere: {job.error}"
        record("host.fence_failed", words, obj=host, severity=Severity.ERROR, job=job)


_SWITCH_OFF = [
    StepDef("off", "Switch it off, until that is confirmed", _off, weight=6),
    StepDef("down", "Its VMs are down", _down),
]
_BEGIN = StepDef("begin", "See that nothing runs there", _begin, _give_up)

register("host.power_status", [StepDef("ask", "Ask its fence agents", _ask)])
register("host.power_on", [StepDef("on", "Switch it on", _on)], cancellable=False)
register("host.power_off", [_BEGIN, *_SWITCH_OFF], cancellable=False)
register("host.power_restart", [_BEGIN, *_SWITCH_OFF, StepDef("on", "Switch it on", _on, weight=4)], cancellable=False)
register("host.confirm_off", [StepDef("down", "Its VMs are down", _confirmed)], cancellable=False)
register(
    "host.fence",
    [
        StepDef("decide", "See that it must be fenced", _decide, _give_up),
        *_SWITCH_OFF,
        StepDef("on", "Switch it on again, if the cluster wants that", _on_if_wanted, weight=4),
    ],
    cancellable=False,
    on_end=_fenced,
)
