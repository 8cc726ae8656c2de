"""Where a VM's console is. These ask the host, so they run in threads of their own, never on the event loop.

A console's byte stream is the one thing in which the web process talks to a hypervisor.
"""

import ipaddress
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from django.db import close_old_connections

from hosts.connect import link_of
from hosts.models import Host, HostTransport
from hypervisor import domains
from hypervisor.errors import HypervisorError, InvalidState, NotFound
from hypervisor.links import HostLink
from portal.secrets import decrypt, encrypt
from vms.models import VM

# A host that does not answer holds one of these for seconds; the event loop's default threads stay free.
threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="console")


class Unreachable(Exception):
    """There is nothing to show. The text is for the person who opened the console."""


@dataclass(frozen=True)
class DisplayAddress:
    """Where to connect to, and with which password."""

    address: str
    port: int
    password: str = field(repr=False)


def link(vm: VM) -> HostLink:
    """Raises Unreachable when the VM is on no host."""
    if vm.host is None:
        raise Unreachable(f"{vm.name} is on no host.")
    return link_of(vm.host)


def find_display(vm: VM) -> DisplayAddress:
    """Raises Unreachable."""
    try:
        found = domains.display(link(vm), str(vm.pk))
    except InvalidState:
        raise Unreachable(f"{vm.name} does not run.") from None
    except NotFound:
        raise Unreachable(f"{vm.name} has no display that can be reached over the network.") from None
    except HypervisorError as error:
        raise Unreachable(f"The host of {vm.name} does not answer: {error}") from None
    assert vm.host is not None
    if found.kind != "vnc":
        raise Unreachable(f"The display of {vm.name} speaks {found.kind.upper()}; the browser shows VNC only.")
    return DisplayAddress(_reachable(vm.host, found.host_listen), found.port, decrypt(vm.display_secret))


def _reachable(host: Host, listen: str) -> str:
    """The address at which we reach what listens there."""
    try:
        listens = ipaddress.ip_address(listen or "127.0.0.1")
    except ValueError:
        return listen
    if listens.is_unspecified:
        return "127.0.0.1" if host.transport == HostTransport.LOCAL else host.address
    if listens.is_loopback and host.transport != HostTransport.LOCAL and host.address not in ("127.0.0.1", "::1", "localhost"):
        raise Unreachable(f"The display listens on {listens} of {host.name} alone. Set vnc_listen in its /etc/libvirt/qemu.conf.")
    return str(listens)


def renew_password(vm: VM) -> str:
    """Gives the display the password that we have on record, or a new one when there is none. Raises Unreachable."""
    close_old_connections()
    password = decrypt(vm.display_secret) or secrets.token_urlsafe(6)
    try:
        domains.set_graphics_password(link(vm), str(vm.pk), password)
    except HypervisorError as error:
        raise Unreachable(f"The display of {vm.name} has another password, and it could not be set anew: {error}") from None
    if not vm.display_secret:
        vm.display_secret = encrypt(password)
        VM.objects.filter(pk=vm.pk).update(display_secret=vm.display_secret)
    close_old_connections()
    return password
