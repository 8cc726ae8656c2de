"""What follows when a host is known to be off."""

from hosts.models import Host
from vms import observe


def host_is_off(host: Host, how: str) -> None:
    """Called once a fence agent, or a person, has confirmed that nothing runs on the host any more.

    Its VMs are down from then on. Safe to repeat.

    Args:
        how: why that is known, as a clause: "node2 was switched off by its fence agents".
    """
    observe.host_off(host, how)
