"""Storage of other kinds than directories on real hosts: iSCSI, Ceph RBD, Gluster; and what happens when it goes away."""

import subprocess

import pytest

from hosts.connect import link_of
from hypervisor import domains as machines
from hypervisor.domain_state import DomainState
from hypervisor.domain_xml import from_xml
from jobs.models import JobStatus
from lab.storage_servers import CephCluster, GlusterServer, IscsiTarget
from portal.errors import NotPossible
from storage import domains, imports, on_host, services
from storage.looks import pace
from storage.models import Disk, DiskStatus, StorageDomain, StorageStatus
from tests.build import attach
from vms.models import VM
from vms.services import NewVm, act
from vms.services import create as create_vm
from vms.spec import build_spec
from vms.steps import define


def make(registered, kind, name="far", **fields):
    new = domains.NewDomain(name=name, data_center=registered.cluster.data_center, kind=kind, **fields)
    domain, job = domains.create_domain(registered.admin, new)
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    domain.refresh_from_db()
    return domain


def new_vm(registered, **fields):
    vm, job = create_vm(registered.admin, NewVm(name="far-01", cluster=registered.cluster, memory_mib=128, **fields))
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    return VM.objects.select_related("host", "cluster").get(pk=vm.pk)


def end(registered, vm, domain):
    """The VM is off, and the domain gone from every host, so that its server can go."""
    machines.destroy(link_of(vm.host), str(vm.pk))
    VM.objects.filter(pk=vm.pk).update(status="down")
    registered.run(domains.maintain_domain(registered.admin, domain))
    domain.refresh_from_db()
    registered.run(domains.destroy_domain(registered.admin, domain, domain.name))
    assert not StorageDomain.objects.filter(pk=domain.pk).exists()


def look(registered, domain):
    pace.forget()
    for host in registered.hosts:
        on_host.note(host, on_host.read(host, [domain]))
    domain.refresh_from_db()


@pytest.fixture
def target(lab, tmp_path):
    with IscsiTarget(lab.gateway, tmp_path, (32 << 20, 48 << 20), "vireo", "a secret of 12") as server:
        yield server


def iscsi(registered, target, **fields):
    source = {"portal": target.portal, "target": target.TARGET, "initiator": target.INITIATOR, "user": "vireo", "secret": "a secret of 12"} | fields
    return make(registered, "iscsi", source=source, takes_in=True)


def test_a_vm_runs_from_a_lun_and_the_page_tells_when_its_target_goes_and_returns(registered, target):
    domain = iscsi(registered, target)
    assert domain.status == StorageStatus.ACTIVE
    assert domain.on_hosts.filter(status=StorageStatus.ACTIVE).count() == 2
    assert [volume.name for volume in domain.found.all()] == ["unit:0:0:1", "unit:0:0:2"]
    with pytest.raises(NotPossible, match="LUNs"):
        services.create_disk(registered.admin, services.NewDisk(name="x", domain=domain, capacity_bytes=1 << 20))
    (disk,) = imports.take_in(registered.admin, domain, [domain.found.get(name="unit:0:0:2").pk])

    vm = new_vm(registered, template=registered.template, storage_domain=registered.shared, start=False)
    attach(vm, disk, "vdb")
    define(vm)
    job = registered.run(act(registered.admin, vm, "start"))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    vm.refresh_from_db()
    record = machines.get(link_of(vm.host), str(vm.pk))
    wanted = next(each for each in build_spec(vm).disks if each.target == "vdb")
    found = next(each for each in from_xml(record.xml).disks if each.target == "vdb")
    assert (found.source, found.remote) == (wanted.source, wanted.remote)
    assert found.source == f"iscsi:{target.TARGET}/2"

    target.stop()
    look(registered, domain)
    assert domain.status == StorageStatus.INACTIVE
    assert domain.status_reason
    assert domain.on_hosts.filter(status=StorageStatus.INACTIVE, checked_at__isnull=False).exclude(status_reason="").count() == 2
    assert machines.state(link_of(vm.host), str(vm.pk))[0] in (DomainState.RUNNING, DomainState.PAUSED)

    target.start()
    look(registered, domain)
    assert domain.status == StorageStatus.ACTIVE, domain.status_reason
    assert domain.status_reason == ""
    end(registered, vm, domain)


def test_a_host_that_cannot_reach_the_storage_is_named_and_the_others_go_on(registered, target):
    second = registered.lab.node("node2")
    block = ["ip", "netns", "exec", second.wiring.netns, "iptables", "{}", "OUTPUT", "-p", "tcp", "--dport", "3260", "-j", "REJECT", "--reject-with", "tcp-reset"]
    subprocess.run([word.format("-A") for word in block], check=True)
    try:
        domain = iscsi(registered, target)
    finally:
        subprocess.run([word.format("-D") for word in block], check=True)
    assert domain.status == StorageStatus.ACTIVE
    assert domain.status_reason.startswith("not on node2: ")
    look(registered, domain)
    assert domain.status_reason == "", "a pool that was stopped is started when the storage answers"


def test_a_target_that_refuses_our_secret_leaves_the_domain_unattached_to_be_corrected(registered, target):
    source = {"portal": target.portal, "target": target.TARGET, "initiator": target.INITIATOR, "user": "vireo", "secret": "not the secret"}
    new = domains.NewDomain(name="far", data_center=registered.cluster.data_center, kind="iscsi", source=source)
    domain, job = domains.create_domain(registered.admin, new)
    job = registered.run(job)
    domain.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert "not the secret" not in job.error + job.error_detail
    assert domain.status == StorageStatus.UNATTACHED
    assert domain.on_hosts.filter(status=StorageStatus.INACTIVE).count() == 2, "each host's reason stays to be read"
    domains.reconnect_domain(registered.admin, domain, "", source | {"secret": "a secret of 12"})
    assert registered.run(domains.attach_domain(registered.admin, domain)).status == JobStatus.SUCCEEDED
    domain.refresh_from_db()
    assert domain.status == StorageStatus.ACTIVE


def test_a_vm_made_in_a_ceph_pool_runs_from_it(registered, lab, tmp_path):
    with CephCluster(lab.gateway, tmp_path / "ceph") as ceph:
        domain = make(registered, "rbd", source={"monitors": ceph.monitor, "ceph_pool": ceph.POOL})
        assert domain.status == StorageStatus.ACTIVE, domain.status_reason
        vm = new_vm(registered, storage_domain=domain, disk_bytes=16 << 20, start=True)
        disk = Disk.objects.get(domain=domain)
        assert (disk.status, disk.format, disk.path) == (DiskStatus.OK, "raw", f"rbd/{disk.volume_name}")
        assert machines.state(link_of(vm.host), str(vm.pk))[0] == DomainState.RUNNING
        spare, job = services.create_disk(registered.admin, services.NewDisk(name="spare", domain=domain, capacity_bytes=8 << 20))
        assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
        spare.refresh_from_db()
        assert registered.run(services.remove_disk(registered.admin, spare)).status == JobStatus.SUCCEEDED
        end(registered, vm, domain)


def test_a_vm_of_a_template_runs_from_a_gluster_volume_that_hosts_mount(registered, lab, tmp_path):
    with GlusterServer(lab.gateway, tmp_path / "gluster") as gluster:
        domain = make(registered, "gluster", source={"server": gluster.address, "volume": gluster.VOLUME})
        assert domain.status == StorageStatus.ACTIVE, domain.status_reason
        assert domain.status_reason == "", "both hosts see what one writes"
        vm = new_vm(registered, template=registered.template, storage_domain=domain, start=True)
        assert Disk.objects.get(domain=domain).format == "qcow2"
        assert machines.state(link_of(vm.host), str(vm.pk))[0] == DomainState.RUNNING
        end(registered, vm, domain)
