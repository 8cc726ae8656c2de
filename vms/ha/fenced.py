"""What follows when a host is known to be off."""

from django.db import transaction

from hosts.models import Host
from vms import observe
from vms.ha import restarts


def host_is_off(host: Host, how: str) -> None:
    """Called once a fence agent, or a person, has confirmed that nothing runs on the host any more.

    Its VMs are down from then on, and those that are highly available run again elsewhere. Safe to repeat.

    Args:
        how: why that is known, as a clause: "node2 was switched off by its fence agents".
    """
    with transaction.atomic():
        restarts.due(observe.host_off(host, how))
