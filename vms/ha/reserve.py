"""Whether each cluster could still run its highly available VMs after losing as many hosts as its policy wants to be spared."""

from events.log import record
from events.models import Event, Severity
from hosts.models import Cluster
from hosts.scheduling.reserve import can_lose
from vms.models import VM
from vms.placement.snapshot import world_of

BROKEN, RESTORED = "cluster.reserve_broken", "cluster.reserve_restored"


def watch() -> None:
    """Leaves an event when a cluster's reserve breaks, and when it is whole again."""
    for cluster in Cluster.objects.filter(pk__in=VM.objects.filter(highly_available=True).values("cluster")).select_related("policy"):
        wanted = max(1, cluster.policy.spare_hosts if cluster.policy is not None else 0)
        found = can_lose(world_of(cluster), wanted)
        broken, was_broken = found.hosts < wanted, _was_broken(cluster)
        if broken and not was_broken:
            names = ", ".join(guest.name for guest in found.left_out[:3]) or "nothing runs it yet"
            text = f"Cluster {cluster.name} can lose {found.hosts} of its hosts, not {wanted}: then {names} would find no place"
            record(BROKEN, text, obj=cluster, severity=Severity.WARNING)
        elif was_broken and not broken:
            record(RESTORED, f"Cluster {cluster.name} can lose {wanted} of its hosts again", obj=cluster)


def _was_broken(cluster: Cluster) -> bool:
    """As the last event says."""
    last = Event.objects.filter(object_type=Cluster.OBJECT_TYPE, object_id=cluster.pk, kind__in=(BROKEN, RESTORED)).first()
    return last is not None and last.kind == BROKEN
