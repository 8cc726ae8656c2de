"""Jobs on networks: define on every host of the cluster, or take off."""

from hosts.models import Host, HostStatus
from hypervisor.errors import HostUnreachable, HypervisorError
from jobs.engine import Context, StepDef, register
from jobs.errors import StepFailed
from jobs.models import Job, JobStatus
from networks import observe, on_host
from networks.models import Network


def _network(ctx: Context) -> Network | None:
    return Network.objects.filter(pk=ctx.job.object_id).first()


def _hosts(network: Network) -> list[Host]:
    return list(
        Host.objects.select_related("cluster").filter(cluster_id=network.cluster_id, status__in=(HostStatus.UP, HostStatus.NON_OPERATIONAL))
    )


def _define(ctx: Context) -> None:
    """Every host that answers must take it: a network that is missing on some hosts would strand VMs there."""
    network = _network(ctx)
    if network is None:
        raise StepFailed("The network was removed meanwhile.")
    hosts, refused = _hosts(network), []
    for index, host in enumerate(hosts):
        ctx.progress(index, len(hosts))
        try:
            on_host.ensure(network, host)
        except HostUnreachable as error:
            ctx.log(f"{host.name}: {error}. It gets the network when it is activated.")
        except HypervisorError as error:
            refused.append((host.name, str(error)))
    if refused:
        raise StepFailed(
            f"{refused[0][0]} refused network {network.name}: {refused[0][1]}", "\n".join(f"{name}: {why}" for name, why in refused)
        )


def _take_off(ctx: Context) -> None:
    network = _network(ctx)
    if network is None:
        return
    for host in _hosts(network):
        try:
            on_host.release(network, host)
        except HostUnreachable as error:
            ctx.log(f"{host.name}: {error}")


def _unused(ctx: Context) -> None:
    network = _network(ctx)
    if network is not None and network.nics.exists():
        raise StepFailed(f"NICs of VMs are on {network.name} again.")


def _forget(ctx: Context) -> None:
    network = _network(ctx)
    if network is not None:
        observe.removed(network, ctx.job.user, ctx.job)


def _created(job: Job) -> None:
    network = Network.objects.filter(pk=job.object_id).first()
    if network is not None and job.status != JobStatus.SUCCEEDED and not network.nics.exists():
        observe.removed(network, job.user, job)


register("network.create", [StepDef("define", "Define it on every host", _define, _take_off)], on_end=_created)
register("network.apply", [StepDef("define", "Define it on every host", _define)])
register(
    "network.remove",
    [
        StepDef("unused", "Check that no VM uses it", _unused),
        StepDef("take-off", "Take it off every host", _take_off, _define),
        StepDef("forget", "Remove it from Vireo", _forget),
    ],
)
