"""What jobs find out about networks."""

from typing import Any

from events.log import record
from networks.models import Network
from portal.live import publish


def removed(network: Network, user: Any, job: Any) -> None:
    """No host has the network any more: the row goes."""
    record("network.removed", f"Network {network.name} was removed", obj=network, user=user, job=job)
    key = network.pk
    network.delete()
    publish("network", key, "removed")
