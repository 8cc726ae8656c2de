"""The only writer of what is observed about a host: its status, and what it is and can.

Each change bumps `rev`, tells open browsers, and leaves an event when a person should know.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from events.log import record
from events.models import Severity
from hosts.models import Host, HostStatus, HostTransport
from hosts.ssh import public_key
from hypervisor.capabilities import HostCapabilities
from hypervisor.errors import CallTimeout, CertificateRefused, HostUnreachable
from jobs.models import Job
from portal.live import publish

# While one of these holds, silence is news; in maintenance or while installing it is expected.
_WATCHED = (HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.PREPARING_FOR_MAINTENANCE)
_RETURNS = (HostStatus.NON_RESPONSIVE, HostStatus.DOWN)
# A connection to a machine that was switched off looks alive for so long: until then only a new one shows that it is back.
_STALE_SECONDS = 15


def seen(host: Host, caps: HostCapabilities | None = None) -> bool:
    """The host answers. Brings one that had stopped answering back to `up`.

    A host that was never taken into service stays as it is: only its job `host.add` may do that.

    Returns:
        True when it came back just now: the caller then reads all its VMs anew.
    """
    if caps is not None:
        capabilities(host, caps)
    now = timezone.now()
    returns = _RETURNS
    if caps is None and Host.objects.filter(pk=host.pk, status=HostStatus.DOWN, status_since__gt=now - timedelta(seconds=_STALE_SECONDS)):
        returns = (HostStatus.NON_RESPONSIVE,)
    if _move(host, returns, HostStatus.UP, joined=True, last_seen_at=now):
        record("host.up", f"Host {host.name} answers again", obj=host)
        return True
    Host.objects.filter(pk=host.pk, last_seen_at__isnull=False).update(last_seen_at=now)
    return False


def heard(host_ids: Iterable[Any]) -> None:
    """Notes that all these hosts answered, in one query and without telling browsers."""
    Host.objects.filter(pk__in=list(host_ids), last_seen_at__isnull=False).update(last_seen_at=timezone.now())


def lost(host: Host, error: Exception | str) -> bool:
    """The host does not answer. Returns True when that is new: the caller then marks its VMs unknown."""
    reason = error if isinstance(error, str) else explain(host, error)
    if _move(host, _WATCHED, HostStatus.NON_RESPONSIVE, reason):
        record("host.non_responsive", f"Host {host.name} does not answer: {reason}", obj=host, severity=Severity.ERROR)
        return True
    if (
        Host.objects.filter(pk=host.pk, status=HostStatus.NON_RESPONSIVE, last_seen_at__isnull=False)
        .exclude(status_reason=reason)
        .update(status_reason=reason, rev=F("rev") + 1)
    ):
        _tell(host)
    return False


def capabilities(host: Host, caps: HostCapabilities) -> None:
    """Keeps what the host says about itself. Anything may be empty: not every driver knows, not every machine has SMBIOS."""
    values = {
        "hardware_uuid": caps.uuid or None,
        "driver": caps.driver[:32],
        "libvirt_version": caps.libvirt_version[:32],
        "hypervisor_version": caps.hypervisor_version[:32],
        "cpu_model": caps.cpu_model[:64],
        "cpu_count": caps.cpus,
        "memory_bytes": caps.memory_bytes,
        "capabilities": as_json(caps),
    }
    _write(host, values)


def kvm(host: Host, works: bool) -> None:
    """Keeps whether guests may use hardware virtualization there."""
    _write(host, {"runs_kvm": works})


def host_keys(host: Host, keys: str) -> None:
    """Pins the SSH host keys."""
    _write(host, {"ssh_host_keys": keys})


def activated(host: Host, problem: str = "", job: Job | None = None) -> None:
    """The host is in service from now on; with a problem it is non_operational: observed, but nothing is placed there."""
    status = HostStatus.NON_OPERATIONAL if problem else HostStatus.UP
    if _move(host, tuple(HostStatus), status, problem, last_seen_at=timezone.now()):
        text = f"Host {host.name} is up" if not problem else f"Host {host.name} is not operational: {problem}"
        record(
            f"host.{status}",
            text,
            obj=host,
            job=job,
            user=job.user if job else None,
            severity=Severity.WARNING if problem else Severity.INFO,
        )


def add_failed(host: Host, reason: str, unreachable: bool) -> None:
    """`host.add` ended without success: the host stays, with the reason, so that it can be tried again."""
    _move(
        host,
        (HostStatus.INSTALLING, *_RETURNS, HostStatus.NON_OPERATIONAL),
        HostStatus.NON_RESPONSIVE if unreachable else HostStatus.NON_OPERATIONAL,
        reason,
    )


def activation_failed(host: Host, reason: str, unreachable: bool) -> None:
    """`host.activate` failed. A host in maintenance stays there, with the reason: nothing may bring it into use by itself."""
    if host.status == HostStatus.MAINTENANCE:
        _move(host, (HostStatus.MAINTENANCE,), HostStatus.MAINTENANCE, reason)
    elif unreachable:
        add_failed(host, reason, unreachable=True)


def installing(host: Host) -> None:
    """`host.add` has begun."""
    _move(host, (*_RETURNS, HostStatus.NON_OPERATIONAL, HostStatus.MAINTENANCE), HostStatus.INSTALLING)


def deactivated(host: Host) -> None:
    """`host.add` is undone after it had taken the host into service."""
    _move(host, (HostStatus.UP, HostStatus.NON_OPERATIONAL), HostStatus.INSTALLING)


def preparing_for_maintenance(host: Host) -> bool:
    """Nothing new is placed there from now on. False when the host is in no state for it."""
    return _move(host, (HostStatus.UP, HostStatus.NON_OPERATIONAL, HostStatus.NON_RESPONSIVE), HostStatus.PREPARING_FOR_MAINTENANCE)


def in_maintenance(host: Host, job: Job | None = None) -> None:
    if _move(host, (HostStatus.PREPARING_FOR_MAINTENANCE,), HostStatus.MAINTENANCE):
        record("host.maintenance", f"Host {host.name} is in maintenance", obj=host, job=job, user=job.user if job else None)


def maintenance_undone(host: Host) -> None:
    """Back into service after maintenance could not be reached."""
    _move(host, (HostStatus.PREPARING_FOR_MAINTENANCE,), HostStatus.UP)


def fencing(host: Host, reason: str) -> bool:
    """A silent host is about to be switched off: from here on an answer of it changes nothing. False when it answers again."""
    if host.status == HostStatus.FENCING:
        return Host.objects.filter(pk=host.pk, status=HostStatus.FENCING).exists()
    return _move(host, (HostStatus.NON_RESPONSIVE,), HostStatus.FENCING, reason)


def not_fenced(host: Host, reason: str) -> None:
    """It could not be confirmed that the host is off, so nobody knows what runs there."""
    _move(host, (HostStatus.FENCING,), HostStatus.NON_RESPONSIVE, reason)


def off(host: Host, reason: str, job: Job | None = None) -> bool:
    """The host is known to be off. One in maintenance stays in maintenance. True when it is `down` from now on."""
    sources = (HostStatus.FENCING, HostStatus.NON_RESPONSIVE, HostStatus.NON_OPERATIONAL)
    if not _move(host, sources, HostStatus.DOWN, reason):
        return False
    user = job.user if job else None
    record("host.down", f"Host {host.name} is down: {reason}", obj=host, severity=Severity.WARNING, user=user, job=job)
    return True


def power_changed(host: Host) -> None:
    """What hosts.power.state knows of it is another now: open pages show it."""
    Host.objects.filter(pk=host.pk).update(rev=F("rev") + 1)
    _tell(host)


def removed(host: Host, job: Job) -> None:
    """Nothing of ours needs the host any more: the row goes."""
    record("host.removed", f"Host {host.name} was removed", obj=host, user=job.user, job=job)
    key = host.pk
    Host.objects.filter(pk=key).delete()
    publish("host", key, "removed")


def explain(host: Host, error: Exception) -> str:
    """Why the host cannot be used, for a person: what is wrong, where, and what to do about it."""
    if host.transport == HostTransport.SSH and (sentence := _explain_ssh(host, str(error))):
        return sentence
    match error:
        case CertificateRefused():
            return f"{host.address} and Vireo do not trust each other's certificate; run the host's enrolment command there. ({error})"
        case CallTimeout():
            return f"{host.address} accepts connections but libvirt there does not answer. ({error})"
        case HostUnreachable():
            return f"{host.address} does not answer. ({error})"
        case _:
            return str(error)


def _explain_ssh(host: Host, text: str) -> str:
    """libssh's own words for the two usual failures tell little, and name files of ours."""
    if "HOST KEY VERIFICATION FAILED" in text:
        return f"{host.address} shows another SSH host key than the one that was accepted. If it was installed anew, activate it with its new key; otherwise somebody may stand in between."
    if "ccess denied" in text or "uthentication failed" in text:
        return f"{host.address} does not let {host.ssh_user or 'root'} in with Vireo's key. Put this line into that user's ~/.ssh/authorized_keys: {public_key()}"
    return ""


def as_json(caps: HostCapabilities) -> dict[str, Any]:
    """The capabilities as plain values, sets sorted."""
    return {key: _plain(value) for key, value in asdict(caps).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _move(host: Host, sources: Collection[str], status: HostStatus, reason: str = "", joined: bool | None = None, **values: Any) -> bool:
    """One conditional UPDATE, so that two observers cannot both believe that they made the change."""
    rows = Host.objects.filter(pk=host.pk, status__in=sources).exclude(status=status, status_reason=reason)
    if joined is not None:
        rows = rows.filter(last_seen_at__isnull=not joined)
    if not rows.update(status=status, status_reason=reason, status_since=timezone.now(), rev=F("rev") + 1, **values):
        return False
    _tell(host)
    return True


def _write(host: Host, values: dict[str, Any]) -> None:
    """Writes what differs, and says so."""
    host.refresh_from_db(fields=list(values))
    changed = {name: value for name, value in values.items() if _differs(getattr(host, name), value)}
    if changed:
        Host.objects.filter(pk=host.pk).update(rev=F("rev") + 1, **changed)
        for name, value in changed.items():
            setattr(host, name, value)
        _tell(host)


def _differs(old: Any, new: Any) -> bool:
    return str(old) != str(new) if hasattr(old, "hex") and not isinstance(old, float) else old != new


def _tell(host: Host) -> None:
    host.refresh_from_db(fields=["status", "status_reason", "status_since", "rev", "last_seen_at"])
    publish("host", host.pk, "changed", host.rev, {"status": host.status, "reason": host.status_reason})
