"""The lab in Vireo's inventory: its hosts, a local and a shared storage domain, a NAT network, the template "Tiny Linux".

Uses the services and jobs that a person's clicks use. Run twice it adds what is missing.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from accounts.models import User
from hosts import services as hosts
from hosts.can import check
from hosts.models import Cluster, Host, HostTransport
from hosts.power import services as power
from hosts.power.catalogue import installed
from jobs.engine import holder_of
from jobs.models import Job
from lab.bmc import Bmc
from lab.cluster import Lab
from lab.guest import DISK_MIB, GuestImage
from lab.kvm import probe_kvm
from lab.node import LOCAL_POINT, SHARED_POINT
from networks import services as networks
from networks.models import Network
from storage import domains as storage
from storage.models import Disk, StorageDomain, StorageKind
from vms.models import Template

TEMPLATE_NAME = "Tiny Linux"
GUEST_MEMORY_MIB = 128


@dataclass(frozen=True)
class Inventory:
    """What the lab is in Vireo."""

    shared: StorageDomain
    local: StorageDomain
    network: Network
    template: Template


def register(lab: Lab, guest: GuestImage, admin: User, cluster: Cluster, run: Callable[[Job], object]) -> Inventory:
    """Args: run: what happens to each job that this submits; running it here lets the next step build on it."""
    for node in lab.nodes():
        found = Host.objects.filter(address=node.address, transport=HostTransport.TLS).first()
        if found is not None:
            _retry(admin, found, run)
        else:
            new = hosts.NewHost(
                name=node.name,
                cluster=cluster,
                address=node.address,
                description="A host of the lab on this machine.",
                emulation_only=not probe_kvm(guest),
            )
            _host, job = hosts.add(admin, new)
            if job is not None:
                run(job)
    _agents(lab, admin)
    shared = _storage(admin, cluster, "shared", StorageKind.SHARED_DIR, SHARED_POINT, run)
    local = _storage(admin, cluster, "local", StorageKind.LOCAL_DIR, LOCAL_POINT, run)
    return Inventory(shared, local, _network(admin, cluster, run), _template(lab, guest, cluster, shared))


def _retry(admin: User, host: Host, run: Callable[[Job], object]) -> None:
    """A host that could not join at an earlier start is tried again; one that an administrator put to rest is left alone."""
    if host.last_seen_at is None and check("activate", host, busy=holder_of(host)):
        run(hosts.activate(admin, host))


def _agents(lab: Lab, admin: User) -> None:
    """Each host's power button, where the lab has them; hosts that have an agent are left alone."""
    access = Bmc(lab).access()
    if access is None or "fence_redfish" not in installed():
        return
    for node in lab.nodes():
        host = Host.objects.filter(address=node.address, transport=HostTransport.TLS, power_agents=None).first()
        if host is not None:
            power.add_agent(admin, host, "fence_redfish", access.options(node.name))


def _storage(admin: User, cluster: Cluster, name: str, kind: str, path: str, run: Callable[[Job], object]) -> StorageDomain:
    found = StorageDomain.objects.filter(data_center=cluster.data_center_id, path=path).first()
    if found is None:
        new = storage.NewDomain(name=name, data_center=cluster.data_center, kind=kind, path=path)
        found, job = storage.create_domain(admin, new)
        run(job)
        found.refresh_from_db()
    return found


def _network(admin: User, cluster: Cluster, run: Callable[[Job], object]) -> Network:
    found = Network.objects.filter(cluster=cluster).first()
    if found is None:
        found, job = networks.create(admin, networks.NewNetwork(name="guests", cluster=cluster, cidr="192.168.150.0/24"))
        run(job)
    return found


def _template(lab: Lab, guest: GuestImage, cluster: Cluster, shared: StorageDomain) -> Template:
    """The guest's disk goes straight into the shared directory: it is on this machine."""
    found = Template.objects.filter(data_center=cluster.data_center_id, name=TEMPLATE_NAME).first()
    if found is not None:
        return found
    disk = Disk(name="tiny-linux", domain=shared, capacity_bytes=DISK_MIB << 20, allocated_bytes=guest.disk.stat().st_size)
    disk.path = f"{shared.path}/{disk.volume_name}"
    shutil.copyfile(guest.disk, lab.shared / disk.volume_name)
    with transaction.atomic():
        disk.save(force_insert=True)
        template = Template.objects.create(
            name=TEMPLATE_NAME,
            data_center=cluster.data_center,
            description="Busybox on Debian's cloud kernel: boots in seconds, shell on screen and serial console, guest agent.",
            memory_mib=GUEST_MEMORY_MIB,
            os="linux",
            rev=1,
        )
        template.disks.add(disk)
    return template
