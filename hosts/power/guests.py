"""Do guests still answer on a host whose libvirtd does not? QEMU's own VNC servers tell, without libvirt."""

import socket
from concurrent.futures import ThreadPoolExecutor

from hosts.models import Host

FIRST_PORT = 5900
# QEMU takes the lowest port that is free as it starts, so what runs on may sit far above what left.
LEAST_PORTS, MOST_PORTS = 128, 512
CONNECT_SECONDS, GREETING_SECONDS = 1.5, 1.5
AT_ONCE = 128
_GREETING = b"RFB "


def answering(host: Host, ports: range | None = None) -> int:
    """How many VNC servers greet on the host: each is a QEMU that lives."""
    ports = ports or range(FIRST_PORT, FIRST_PORT + min(max(2 * host.vms.count(), LEAST_PORTS), MOST_PORTS))
    with ThreadPoolExecutor(min(AT_ONCE, len(ports)), thread_name_prefix="greet") as pool:
        return sum(pool.map(lambda port: _greets(host.address, port), ports))


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), CONNECT_SECONDS) as connection:
            connection.settimeout(GREETING_SECONDS)
            said = b""
            while len(said) < len(_GREETING) and (more := connection.recv(len(_GREETING) - len(said))):
                said += more
            return said == _GREETING
    except OSError:
        return False
