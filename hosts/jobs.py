"""Jobs on hosts: add, activate, read again, maintenance, remove."""

from uuid import UUID

from hosts import observe, ssh
from hosts.connect import forget, link_of
from hosts.kvm import runs_guests
from hosts.models import Host, HostTransport
from hosts.services import blockers, removal_blocker
from hypervisor import capabilities, domains
from hypervisor.errors import HostUnreachable, HypervisorError, NotFound, NotSupported
from jobs.engine import Context, StepDef, register
from jobs.errors import StepFailed
from jobs.models import Job, JobStatus
from networks import on_host as networks_on_host
from storage import on_host as storage_on_host


def _host(ctx: Context) -> Host:
    host = Host.objects.select_related("cluster__data_center").filter(pk=ctx.job.object_id).first()
    if host is None:
        raise StepFailed("The host was removed meanwhile.")
    return host


def accept_host_key(ctx: Context) -> None:
    """Pins the SSH host key at first contact; with a fingerprint given, only that key."""
    host = _host(ctx)
    observe.installing(host)
    if host.transport != HostTransport.SSH or host.ssh_host_keys:
        return
    try:
        keys = ssh.scan(host.address, host.port)
    except ssh.HostKeyUnavailable as error:
        ctx.save_facts(unreachable=True)
        raise StepFailed(f"{host.address} does not answer: {error}") from None
    shown = ssh.fingerprints(keys)
    expected = ctx.params.get("ssh_fingerprint", "")
    if expected and expected not in shown:
        raise StepFailed(f"{host.address} shows another host key than the one you gave.", "It shows " + ", ".join(shown))
    observe.host_keys(host, keys)
    ctx.log("Host keys accepted: " + ", ".join(shown))


def connect(ctx: Context) -> None:
    """Opens a new connection and reads what the host is. An old link may sit in its back-off: it is not waited for."""
    host = _host(ctx)
    forget(host)
    try:
        caps = capabilities.read(link_of(host))
    except HostUnreachable as error:
        ctx.save_facts(unreachable=True)
        raise StepFailed(observe.explain(host, error), f"libvirt {error.code_name}: {error.message}") from None
    ctx.save_facts(unreachable=False)
    _refuse_twin(host, caps.uuid)
    observe.capabilities(host, caps)
    ctx.log(
        f"{caps.hostname or host.name}: {caps.driver} {caps.hypervisor_version}, libvirt {caps.libvirt_version}, {caps.cpus} CPUs, {caps.memory_bytes >> 20} MiB"
    )


def _refuse_twin(host: Host, uuid: str) -> None:
    """One machine under two names would have each of its VMs twice. The test driver gives every host one UUID."""
    if not uuid or host.transport == HostTransport.TEST:
        return
    twin = Host.objects.filter(hardware_uuid=UUID(uuid)).exclude(pk=host.pk).exclude(transport=HostTransport.TEST).first()
    if twin is not None:
        raise StepFailed(
            f"{host.address} is the machine that is host {twin.name} already.",
            f"Both have UUID {uuid}. Two machines with one UUID need host_uuid in libvirtd.conf.",
        )


def try_kvm(ctx: Context) -> None:
    host = _host(ctx)
    works, why = runs_guests(host, link_of(host))
    observe.kvm(host, works)
    ctx.log(f"Guests run with {'KVM' if works else 'emulation'}: {why}")


def ready_storage(ctx: Context) -> None:
    host = _host(ctx)
    problems = {}
    for domain in storage_on_host.in_use(host):
        ctx.check()
        reason = storage_on_host.ensure(domain, host)
        ctx.log(f"Storage domain {domain.name}: {reason or 'ready'}")
        if reason:
            problems[domain.name] = reason
    ctx.save_facts(storage_problems=problems)


def ready_networks(ctx: Context) -> None:
    host = _host(ctx)
    problems = {}
    for network in networks_on_host.wanted(host):
        ctx.check()
        try:
            networks_on_host.ensure(network, host)
        except HostUnreachable:
            raise
        except NotSupported as error:
            ctx.log(f"Network {network.name}: {error}")
        except HypervisorError as error:
            problems[network.name] = str(error)
            ctx.log(f"Network {network.name}: {error}")
    ctx.save_facts(network_problems=problems)


def _take_off(ctx: Context) -> None:
    """What a host that did not join, or leaves, has of ours. One that does not answer keeps unused definitions, which harm nobody."""
    host = Host.objects.select_related("cluster").filter(pk=ctx.job.object_id).first()
    if host is None:
        return
    try:
        for network in networks_on_host.wanted(host):
            networks_on_host.release(network, host)
        for domain in storage_on_host.in_use(host):
            storage_on_host.release(domain, host)
    except HostUnreachable as error:
        ctx.log(f"{host.name} does not answer, so its pools and networks stay defined there: {error}")
    except HypervisorError as error:
        ctx.log(f"{host.name}: {error}")


def adopt(ctx: Context) -> None:
    """Every domain that is there becomes a VM of ours, as it is and without a stop."""
    from vms.observe import sync_host  # vms builds on hosts; adoption is the one way back

    host = _host(ctx)
    records = domains.list_domains(link_of(host))
    sync_host(host, records)
    ctx.log(f"{len(records)} VM{'' if len(records) == 1 else 's'} found.")


def activate(ctx: Context) -> None:
    """Into service; with storage or networks that it cannot have, only as non_operational."""
    host = _host(ctx)
    problems = [f"storage domain {name}: {why}" for name, why in ctx.facts.get("storage_problems", {}).items()]
    problems += [f"network {name}: {why}" for name, why in ctx.facts.get("network_problems", {}).items()]
    observe.activated(host, "; ".join(problems), ctx.job)


def _deactivate(ctx: Context) -> None:
    """Out of service again, before its storage is taken off."""
    observe.deactivated(_host(ctx))


def _joined(job: Job) -> None:
    host = Host.objects.filter(pk=job.object_id).first()
    if host is not None and job.status != JobStatus.SUCCEEDED:
        observe.add_failed(host, job.error or "adding it was cancelled", bool(job.facts.get("unreachable")))


def _activated(job: Job) -> None:
    host = Host.objects.filter(pk=job.object_id).first()
    if host is not None and job.status == JobStatus.FAILED:
        observe.activation_failed(host, job.error, bool(job.facts.get("unreachable")))


def _prepare(ctx: Context) -> None:
    """From here on the scheduler sends nothing there."""
    observe.preparing_for_maintenance(_host(ctx))


def _evacuate(ctx: Context) -> None:
    from vms.migration import evacuation  # vms builds on hosts

    evacuation.evacuate(ctx)


def _call_off(ctx: Context) -> None:
    from vms.migration import evacuation

    evacuation.call_off(ctx)


def _in_service(ctx: Context) -> None:
    observe.maintenance_undone(_host(ctx))


def _rest(ctx: Context) -> None:
    host = _host(ctx)
    if running := blockers(host):
        raise StepFailed(f"VMs run on {host.name}: {', '.join(running[:5])}.")
    observe.in_maintenance(_host(ctx), ctx.job)


def _check_leaving(ctx: Context) -> None:
    host = Host.objects.filter(pk=ctx.job.object_id).first()
    reason = removal_blocker(host) if host is not None else ""
    if reason:
        raise StepFailed(reason)


def _undefine(ctx: Context) -> None:
    """Our VMs that are down leave the host's libvirt, so that they exist once; adopted ones stay there untouched."""
    host = Host.objects.select_related("cluster").filter(pk=ctx.job.object_id).first()
    if host is None:
        return
    try:
        link = link_of(host)
        for vm in host.vms.filter(status="down").exclude(origin="adopted"):
            try:
                domains.undefine(link, str(vm.pk))
            except NotFound:
                continue
    except HostUnreachable as error:
        ctx.log(f"{host.name} does not answer, so the definitions of its VMs stay there: {error}")


def _forget(ctx: Context) -> None:
    from vms.observe import host_removed

    host = Host.objects.filter(pk=ctx.job.object_id).first()
    if host is None:
        return
    host_removed(host)
    observe.removed(host, ctx.job)
    forget(host)


def _without_undo(steps: list[StepDef]) -> list[StepDef]:
    return [StepDef(step.name, step.title, step.do, None, step.weight) for step in steps]


_ENTER = [
    StepDef("connect", "Connect and read what the host is", connect, weight=2),
    StepDef("kvm", "Find out whether KVM works", try_kvm),
    StepDef("storage", "Ready its storage", ready_storage, _take_off, weight=2),
    StepDef("networks", "Ready its networks", ready_networks),
    StepDef("adopt", "Adopt the VMs that it has", adopt, weight=2),
    StepDef("activate", "Take into service", activate, _deactivate),
]
_BEGIN = StepDef("begin", "Prepare, and accept its SSH host key if it has one", accept_host_key)

register("host.add", [_BEGIN, *_ENTER], on_end=_joined)
register("host.activate", _without_undo(_ENTER), on_end=_activated)
register("host.refresh", [_ENTER[0], _ENTER[1]])
register(
    "host.maintenance",
    [
        StepDef("prepare", "Let nothing start there", _prepare, _in_service),
        StepDef("evacuate", "Move what runs there", _evacuate, _call_off, weight=20),
        StepDef("rest", "Take out of service", _rest),
    ],
)
register(
    "host.remove",
    [
        StepDef("check", "Check that nothing needs it", _check_leaving),
        StepDef("undefine", "Undefine its VMs", _undefine),
        StepDef("take-off", "Take off pools and networks", _take_off),
        StepDef("forget", "Remove it from Vireo", _forget),
    ],
    cancellable=False,
)
