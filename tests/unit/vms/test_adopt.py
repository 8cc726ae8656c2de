"""Taking over domains that are there already: each once, whoever tries, and under a name that nobody has."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import connection

from events.models import Event
from hypervisor.domain_state import DomainState
from hypervisor.domains import DomainRecord
from storage.models import Disk
from tests.build import make_host, make_network, make_vm
from vms import observe
from vms.adopt import adopt
from vms.models import VM, Nic, VmOrigin, VmStatus

XML = """<domain type='qemu'>
  <name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><source file='/srv/tools.iso'/><target dev='sda' bus='sata'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='{network}'/><model type='e1000'/></interface>
  </devices>
</domain>"""


def found(name="legacy", state=DomainState.RUNNING, uuid="", network="default", **fields):
    key = uuid or str(uuid4())
    xml = XML.format(name=name, uuid=key, network=network)
    defaults = {"reason": "", "persistent": True, "xml": xml, "has_managed_save": False, "autostart": False}
    return DomainRecord(**defaults | {"uuid": key, "name": name, "state": state} | fields)


@pytest.mark.django_db
def test_an_adopted_domain_is_as_it_was_found():
    host = make_host()
    vm = adopt(host, found())
    vm.refresh_from_db()
    assert (vm.name, vm.domain_name, vm.host, vm.cluster) == ("legacy", "legacy", host, host.cluster)
    assert (vm.origin, vm.status, vm.memory_mib, vm.vcpus) == (VmOrigin.ADOPTED, VmStatus.UP, 64, 2)
    assert vm.started_at is not None
    assert list(vm.attachments.values_list("target", "device", "bus", "disk__path", "disk__domain")) == [
        ("sda", "cdrom", "sata", "/srv/tools.iso", None),
        ("vda", "disk", "virtio", "/srv/legacy.qcow2", None),
    ]
    assert vm.nics.get().foreign_source == "default"
    assert Event.objects.get(kind="vm.adopted").object_id == vm.pk


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "status"),
    [(DomainState.SHUTOFF, VmStatus.DOWN), (DomainState.PAUSED, VmStatus.PAUSED), (DomainState.RUNNING, VmStatus.UP)],
)
def test_its_state_is_shown_at_once(state, status):
    vm = adopt(make_host(), found(state=state))
    assert vm.status == status
    assert (vm.started_at is None) == (status == VmStatus.DOWN)


@pytest.mark.django_db
def test_a_nic_in_one_of_our_networks_is_tied_to_it():
    host = make_host()
    network = make_network(cluster=host.cluster)
    vm = adopt(host, found(network=network.libvirt_name))
    assert Nic.objects.get(vm=vm).network == network


@pytest.mark.django_db
def test_a_foreign_file_that_two_domains_share_is_one_disk():
    host = make_host()
    adopt(host, found("one"))
    adopt(host, found("two"))
    assert Disk.objects.filter(path="/srv/tools.iso").count() == 1


@pytest.mark.django_db
def test_a_name_that_is_taken_gets_the_hosts_and_then_the_id():
    host = make_host(name="node1")
    make_vm(cluster=host.cluster, name="LEGACY")
    second, third = found(), found()
    assert adopt(host, second).name == "legacy@node1"
    assert adopt(host, third).name == third.uuid
    assert set(VM.objects.filter(origin=VmOrigin.ADOPTED).values_list("domain_name", flat=True)) == {"legacy"}


@pytest.mark.django_db
def test_the_same_name_in_another_cluster_does_not_matter():
    make_vm(name="legacy")
    assert adopt(make_host(), found()).name == "legacy"


@pytest.mark.django_db
def test_names_longer_than_a_row_holds_are_cut_and_stay_apart():
    host = make_host()
    name = "x" * 300
    first, second = adopt(host, found(name)), adopt(host, found(name))
    assert first.name == "x" * 255
    assert second.name == str(second.pk)


@pytest.mark.django_db
@pytest.mark.parametrize("xml", ["", "<domain", "no xml at all", "<pool/>"])
def test_a_domain_that_cannot_be_read_is_left_out_and_stops_no_other(xml):
    host = make_host()
    observe.sync_host(host, [found(xml=xml), found("good")])
    assert list(VM.objects.values_list("name", flat=True)) == ["good"]


@pytest.mark.django_db
def test_a_row_that_exists_is_not_adopted_again():
    host = make_host()
    vm = make_vm(host=host, status=VmStatus.UP)
    assert adopt(host, found(uuid=str(vm.pk))) is None
    assert VM.objects.count() == 1


def at_once(jobs):
    """Runs all at the same moment; raises what any of them raised."""
    gate = threading.Barrier(len(jobs))

    def run(job):
        gate.wait(20)
        try:
            job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        for ended in [pool.submit(run, job) for job in jobs]:
            ended.result(60)


@pytest.mark.django_db(transaction=True)
def test_forty_at_once_adopt_each_of_twenty_domains_once():
    host = make_host()
    records = [found(f"guest-{number:02}") for number in range(20)]
    at_once([lambda: observe.sync_host(host, records)] * 40)
    assert sorted(VM.objects.values_list("name", flat=True)) == [record.name for record in records]
    assert Event.objects.filter(kind="vm.adopted").count() == 20
    assert Disk.objects.filter(attachments__device="disk").distinct().count() == 20
    assert Nic.objects.count() == 20


@pytest.mark.django_db(transaction=True)
def test_hosts_that_bring_the_same_names_at_once_keep_all_their_domains():
    first = make_host()
    hosts = [first, *(make_host(cluster=first.cluster) for _ in range(3))]
    jobs = [lambda host=host: observe.sync_host(host, [found(f"guest-{number}") for number in range(3)]) for host in hosts]
    at_once(jobs)
    assert VM.objects.count() == 12
    assert len({name.lower() for name in VM.objects.values_list("name", flat=True)}) == 12
    assert {VM.objects.filter(host=host).count() for host in hosts} == {3}
