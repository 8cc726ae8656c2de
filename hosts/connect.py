"""From a Host row to its libvirt connection. Called from jobs, the watcher and observe; never from a request."""

from django.conf import settings

from hosts import ssh
from hosts.models import Host, HostTransport
from hosts.pki import CertificateAuthority
from hypervisor.address import HostAddress
from hypervisor.links import HostLink, links


def authority() -> CertificateAuthority:
    """Vireo's own CA, made on first use."""
    ca = CertificateAuthority(settings.PKI_DIR)
    ca.ensure()
    return ca


def address_of(host: Host) -> HostAddress:
    """Where the host's libvirtd is, and the credentials that open it. Writes the files that libvirt reads, if they are missing."""
    match host.transport:
        case HostTransport.TLS:
            port = {"port": host.port} if host.port else {}
            return HostAddress.tls(host.address, str(authority().client_dir()), **port)
        case HostTransport.SSH:
            port = {"port": host.port} if host.port else {}
            return HostAddress.ssh(host.ssh_user or "root", host.address, str(ssh.private_key()), str(ssh.known_hosts(host)), **port)
        case HostTransport.TEST:
            return HostAddress(host.test_uri or "test:///default")
        case _:
            return HostAddress("qemu:///system")


def link_of(host: Host) -> HostLink:
    """The process's one link to the host; connects on its first call."""
    return links.get(address_of(host))


def forget(host: Host) -> None:
    """Closes this process's link to the host, for one that was removed or whose address changed."""
    links.drop(address_of(host))
