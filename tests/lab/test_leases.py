"""Storage leases: whatever somebody does past Vireo, one disk is never open on two hosts."""

import libvirt
import pytest

from hypervisor.domain_xml import to_xml
from hypervisor.spec import DiskSpec, DomainSpec
from jobs.models import JobStatus
from tests.lab.test_vm_jobs import create
from vms.migration.services import migrate
from vms.models import VM

DISK_BYTES = 1 << 20


@pytest.fixture
def file_seen_by_both(registered):
    """An empty raw file in the shared directory; its path on the hosts."""
    file = registered.lab.shared / "leased.raw"
    file.write_bytes(bytes(DISK_BYTES))
    yield f"{registered.shared.path}/{file.name}"
    file.unlink()


@pytest.fixture
def by_hand(registered):
    """Starts a domain on a node as an administrator would with virsh."""
    connections = []

    def start(node, number, disk):
        connection = libvirt.open(node.uri)
        connections.append(connection)
        spec = DomainSpec(
            uuid=f"00000000-0000-4000-8000-00000000000{number}",
            name=f"by-hand-{number}",
            memory_mib=32,
            disks=(disk,),
            agent=False,
            graphics=None,
        )
        return connection.createXML(to_xml(spec))

    yield start
    for connection in connections:
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT):
            domain.destroy()
        connection.close()


def test_a_disk_that_one_host_writes_is_refused_to_the_other_until_it_is_let_go(registered, by_hand, file_seen_by_both):
    first, second = registered.lab.nodes()
    disk = DiskSpec(source=file_seen_by_both, target="vda", format="raw")
    holder = by_hand(first, 1, disk)
    with pytest.raises(libvirt.libvirtError) as refused:
        by_hand(second, 2, disk)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_RESOURCE_BUSY, refused.value
    assert "Lockspace resource" in str(refused.value), "virtlockd refused it, before QEMU was begun"
    holder.destroy()
    by_hand(second, 2, disk)


def test_a_shared_disk_is_open_on_both(registered, by_hand, file_seen_by_both):
    first, second = registered.lab.nodes()
    disk = DiskSpec(source=file_seen_by_both, target="vda", format="raw", shareable=True)
    by_hand(first, 1, disk)
    assert by_hand(second, 2, disk).isActive()


@pytest.fixture
def first_without_leases(registered):
    """As a host is that was enrolled before Vireo asked for leases."""
    node = registered.lab.nodes()[0]
    conf = node.root / "etc/qemu.conf"
    whole = conf.read_text()

    def restart(text):
        conf.write_text(text)
        registered.lab.stop_libvirtd(node.name)
        registered.lab.start_libvirtd(node.name)

    assert 'lock_manager = "lockd"\n' in whole
    restart(whole.replace('lock_manager = "lockd"\n', ""))
    yield node
    restart(whole)


def test_a_vm_moves_between_a_host_with_leases_and_one_without_and_back(registered, first_without_leases):
    vm = create(registered, start=True)
    for _ in range(2):
        job = registered.run(migrate(registered.admin, VM.objects.select_related("host", "cluster").get(pk=vm.pk)))
        assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
