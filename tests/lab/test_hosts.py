"""Hosts join, rest, leave and come back, on real libvirtd."""

import libvirt

from hosts import services
from hosts.models import Host, HostStatus
from hypervisor.links import links
from jobs.models import JobStatus
from networks.models import Network
from storage.models import Disk, StorageDomainHost
from tests.build import make_host
from vms.models import VM, VmOrigin, VmStatus

FOREIGN = "5d4d2c1e-2f0b-4f86-9d0c-6f2a1f0e7a11"


def on(node, fn):
    """fn(connection) on the node's own libvirt, beside Vireo."""
    connection = libvirt.open(node.uri)
    try:
        return fn(connection)
    finally:
        connection.close()


def rest(registered, host):
    job = registered.run(services.maintenance(registered.admin, host))
    assert job.status == JobStatus.SUCCEEDED, job.error
    host.refresh_from_db()
    assert host.status == HostStatus.MAINTENANCE


def add(registered, **fields):
    defaults = {"name": "newcomer", "cluster": registered.cluster, "address": registered.lab.node("node1").address}
    host, job = services.add(registered.admin, services.NewHost(**defaults | fields))
    job = registered.run(job)
    host.refresh_from_db()
    return host, job


def test_added_host_tells_what_it_is_and_has_storage_and_network(registered):
    host = registered.hosts[0]
    assert host.driver == "QEMU"
    assert host.libvirt_version.startswith("9.")
    assert host.memory_bytes > 1 << 28
    assert host.cpu_count > 0
    assert "console" in host.capabilities["features"]
    assert set(StorageDomainHost.objects.filter(host=host).values_list("status", flat=True)) == {"active"}
    network = Network.objects.get()
    assert on(registered.lab.node("node1"), lambda c: c.networkLookupByName(network.libvirt_name).isActive())


def test_host_goes_to_maintenance_and_comes_back(registered):
    host = registered.hosts[1]
    rest(registered, host)
    job = registered.run(services.activate(registered.admin, host))
    host.refresh_from_db()
    assert (job.status, host.status) == (JobStatus.SUCCEEDED, HostStatus.UP)


def test_removed_host_keeps_nothing_of_ours_and_can_be_added_again(registered):
    host, node = registered.hosts[1], registered.lab.node("node2")
    rest(registered, host)
    job = registered.run(services.remove(registered.admin, host))
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert not Host.objects.filter(pk=host.pk).exists()
    assert on(node, lambda c: [p.name() for p in c.listAllStoragePools()]) == []
    assert not [n for n in on(node, lambda c: [x.name() for x in c.listAllNetworks()]) if n.startswith("vireo-")]
    again, job = add(registered, name="node2", address=node.address)
    assert (job.status, again.status) == (JobStatus.SUCCEEDED, HostStatus.UP), job.error


def test_running_domain_is_adopted_with_its_foreign_disk_and_does_not_stop(registered):
    host, node = registered.hosts[1], registered.lab.node("node2")
    rest(registered, host)
    registered.run(services.remove(registered.admin, host))
    (registered.lab.shared / "legacy.img").write_bytes(b"\0" * (1 << 20))
    xml = f"""<domain type='qemu'><name>legacy</name><uuid>{FOREIGN}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='pc'>hvm</type></os>
      <devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/var/lib/vireo/shared/legacy.img'/>
      <target dev='vda' bus='virtio'/></disk></devices></domain>"""
    on(node, lambda c: c.defineXML(xml).create())
    started = on(node, lambda c: c.lookupByUUIDString(FOREIGN).ID())
    host, job = add(registered, name="node2", address=node.address)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    vm = VM.objects.get(pk=FOREIGN)
    assert (vm.name, vm.host, vm.origin) == ("legacy", host, VmOrigin.ADOPTED)
    assert vm.status in (VmStatus.UP, VmStatus.POWERING_UP)
    disk = Disk.objects.get(attachments__vm=vm)
    assert (disk.domain, disk.path) == (None, "/var/lib/vireo/shared/legacy.img")
    assert on(node, lambda c: c.lookupByUUIDString(FOREIGN).ID()) == started, "the same run as before"


def test_host_that_does_not_answer_is_kept_with_the_reason(registered):
    nobody = str(registered.lab.network[200])
    host, job = add(registered, name="nobody", address=nobody)
    assert job.status == JobStatus.FAILED
    assert nobody in job.error
    assert host.status == HostStatus.NON_RESPONSIVE
    assert host.status_reason == job.error
    assert registered.run(services.remove(registered.admin, host)).status == JobStatus.SUCCEEDED


def test_certificate_of_another_ca_is_named_as_the_reason(registered, settings, tmp_path):
    host = registered.hosts[1]
    rest(registered, host)
    settings.PKI_DIR = tmp_path
    job = registered.run(services.activate(registered.admin, host))
    host.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert "certificate" in job.error
    assert "enrolment command" in job.error


def test_libvirtd_that_accepts_and_never_answers_is_told_apart(registered, healthy_lab):
    host = registered.hosts[1]
    rest(registered, host)
    links.close()
    healthy_lab.freeze_libvirtd("node2")
    job = registered.run(services.activate(registered.admin, host))
    assert job.status == JobStatus.FAILED
    assert "does not answer" in job.error
    host.refresh_from_db()
    assert (host.status, host.status_reason) == (HostStatus.MAINTENANCE, job.error)
    healthy_lab.thaw_libvirtd("node2")
    assert registered.run(services.activate(registered.admin, host)).status == JobStatus.SUCCEEDED
    host.refresh_from_db()
    assert (host.status, host.status_reason) == (HostStatus.UP, "")


def test_one_machine_is_not_two_hosts(registered):
    host = registered.hosts[1]
    rest(registered, host)
    make_host(name="first", transport="tls", address="192.0.2.77", cluster=registered.cluster, hardware_uuid=host.hardware_uuid, status=HostStatus.DOWN)
    job = registered.run(services.activate(registered.admin, host))
    assert job.status == JobStatus.FAILED
    assert "is host first already" in job.error
