"""Two real hosts for the session, in namespaces and a subnet of their own, and their rows for a test."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from hosts.models import Cluster, Host, HostStatus, HostTransport
from hosts.pki import CertificateAuthority
from hypervisor.links import links
from jobs import runner
from jobs.models import Job
from lab.cluster import Lab
from lab.guest import GuestImage, build
from networks.models import Network
from storage.models import StorageDomain
from tests.build import make_cluster, make_user
from tests.stack import free_subnet
from vms.models import Template

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """node1 and node2, up; taken down with all their files at the end."""
    made = Lab(
        os.environ.get("VIREO_TEST_LAB_NAME", "vireotest"),
        os.environ.get("VIREO_TEST_LAB_SUBNET") or free_subnet(),
        settings.VAR / "lab" / "test",
        CertificateAuthority(settings.PKI_DIR),
        lasts=False,
    )
    made.up()
    try:
        yield made
    finally:
        links.close()
        made.purge()


@pytest.fixture(scope="session")
def guest() -> GuestImage:
    """The tiny guest, built once per checkout."""
    return build(ROOT / "var" / "cache")


@pytest.fixture
def healthy_lab(lab: Lab) -> Iterator[Lab]:
    """The lab, healed after a test that breaks it."""
    yield lab
    for node in lab.nodes():
        lab.heal_host(node.name)


@dataclass(frozen=True)
class Registered:
    """The lab as rows: what `make run` registers, made by the same services and jobs."""

    lab: Lab
    admin: User
    cluster: Cluster
    hosts: list[Host]
    shared: StorageDomain
    local: StorageDomain
    network: Network
    template: Template

    def run(self, job: Job) -> Job:
        """Runs the job here and now, in this process; as it ended."""
        runner.run(job.pk)
        job.refresh_from_db()
        return job


@pytest.fixture
def registered(transactional_db: None, lab: Lab, guest: GuestImage) -> Iterator[Registered]:
    """Ends with every domain of the lab gone and every link closed, so that tests do not meet each other's."""
    from lab.register import register

    admin = make_user("admin", role="SuperUser")
    inventory = register(lab, guest, admin, make_cluster(name="Default"), run=lambda job: runner.run(job.pk))
    hosts = list(Host.objects.order_by("name"))
    assert [host.status for host in hosts] == [HostStatus.UP, HostStatus.UP], [host.status_reason for host in hosts]
    assert all(host.transport == HostTransport.TLS for host in hosts)
    yield Registered(lab, admin, hosts[0].cluster, hosts, inventory.shared, inventory.local, inventory.network, inventory.template)
    links.close()  # else they go on trying hosts that the next test breaks
    _clean(lab)


def _destroy(domain: Any) -> None:
    """One that ends in this moment is fine: a libvirtd that has just come back still finds out what died meanwhile."""
    import libvirt

    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


def _clean(lab: Lab) -> None:
    import libvirt

    for node in lab.nodes():
        lab.heal_host(node.name)
        connection = libvirt.open(node.uri)
        for domain in connection.listAllDomains():
            if domain.isActive():
                _destroy(domain)
            if domain.isPersistent():
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        for pool in connection.listAllStoragePools():
            files = pool.isActive() and 'type="dir"' in pool.XMLDesc(0).replace("'", '"')
            for volume in pool.listAllVolumes() if files else []:
                volume.delete()
            if pool.isActive():
                pool.destroy()
            pool.undefine()
        for network in connection.listAllNetworks():
            if network.isActive():
                network.destroy()
            network.undefine()
        connection.close()
    for file in lab.shared.iterdir():  # a template's file was put there past libvirt
        file.unlink()
