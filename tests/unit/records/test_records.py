"""VMs written down on a shared domain, on a host of libvirt's test driver: when they are, what is read again, and what is refused."""

import io
import json

import pytest
from django.urls import reverse
from django.utils import timezone

from hosts.connect import forget, link_of
from hypervisor import storage as pools
from hypervisor.spec import PoolSpec, VolumeSpec
from jobs import runner
from jobs.models import JobStatus
from portal.errors import NotPossible
from storage import domains
from storage.models import Disk, DiskStatus, FoundVolume, StorageDomainHost, StorageStatus
from tests.build import attach, make_cluster, make_disk, make_network, make_nic, make_storage, make_user, make_vm
from tests.driver_host import driver_host
from vms.models import VM, FoundVm, VmStatus
from vms.records import keeping, manifest, taking
from vms.records.models import RecordsKept
from vms.records.reading import why_not
from vms.records.volumes import volume_of

MIB = 1 << 20


@pytest.fixture
def host(transactional_db, tmp_path):
    made = driver_host(tmp_path)
    yield made
    forget(made)


@pytest.fixture
def domain(host, tmp_path):
    made = make_storage(data_center=host.cluster.data_center, path=str(tmp_path / "pool"))
    pools.ensure_pool(link_of(host), PoolSpec(made.pool_name, made.path))
    StorageDomainHost.objects.create(domain=made, host=host, status=StorageStatus.ACTIVE)
    return made


@pytest.fixture
def vm(host, domain):
    made = make_vm(name="web-01", cluster=host.cluster, status=VmStatus.DOWN, memory_mib=256, tags=["shop"])
    attach(made, make_disk(domain=domain, status=DiskStatus.OK, name="system", path="/x"), io_iops=500)
    make_nic(made, make_network(cluster=host.cluster, name="front"), name="nic1")
    return made


@pytest.fixture
def admin(client, host):
    user = make_user("admin", role="SuperUser")
    client.force_login(user)
    return user


def claimed(domain) -> RecordsKept:
    return RecordsKept.objects.get(domain=domain)


# -- what they say


def test_what_is_written_is_read_as_it_was(vm, domain):
    (record,), _odd = manifest.decode(manifest.encode(keeping.records_of(domain)))
    assert (record.id, record.name, record.memory_mib, record.tags, record.cluster) == (vm.pk, "web-01", 256, ["shop"], vm.cluster.name)
    (disk,), (nic,) = record.disks, record.nics
    attached = vm.attachments.get()
    assert (disk.id, disk.volume, disk.target, disk.io_iops) == (attached.disk_id, attached.disk.volume_name, "vda", 500)
    assert (nic.network, nic.mac) == ("front", vm.nics.get().mac)


def test_nothing_secret_is_written(vm, domain):
    VM.objects.update(display_secret="SECRETTEXT")
    data = manifest.encode(keeping.records_of(domain))
    assert b"SECRETTEXT" not in data and b"secret" not in data and b"owner" not in data


def test_half_of_a_vm_is_not_written_down(vm, domain):
    attach(vm, make_disk(domain=None, path="/elsewhere"), "vdb")
    assert keeping.records_of(domain) == []


def test_so_many_queries_whatever_there_is(vm, domain, django_assert_num_queries):
    for number in range(5):
        attach(make_vm(name=f"more{number}", cluster=vm.cluster), make_disk(domain=domain))
    with django_assert_num_queries(4):
        assert len(keeping.records_of(domain)) == 6


@pytest.mark.parametrize("change", [
    lambda data: data[:-1], lambda data: b"#" + data, lambda data: data.replace(b"web-01", b"web-02"), lambda data: b"", lambda data: b"\0" * 4096,
])  # fmt: skip
def test_torn_or_changed_records_are_unreadable(vm, domain, change):
    with pytest.raises(manifest.Unreadable):
        manifest.decode(change(manifest.encode(keeping.records_of(domain))))


HOSTILE = {
    "name": ["", "x" * 256, 7],
    "memory_mib": [0, -1, 1 << 40, "much"],
    "vcpus": [0, 100_000],
    "firmware": ["<xml/>"],
    "tags": [["x" * 65], "all"],
    "priority": [100],
    "drives": [["../sda"], ["sda'/><disk"]],
    "disks": [[], None],
    "nics": [[{"name": "a b", "mac": "52:54:00:00:00:01"}], [{"name": "n", "mac": "not a mac"}], [{"name": "n", "mac": "52:54:00:00:00:01", "model": "'/>"}]],
}  # fmt: skip


def rows(domain) -> list[dict]:
    return [record.model_dump(mode="json") for record in keeping.records_of(domain)]


def wrapped(text: bytes) -> bytes:
    return b"VIREO-VMS 1 %d %s\n" % (len(text), manifest.digest_of(text).encode()) + text


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in HOSTILE.items() for value in values])
def test_what_somebody_made_up_is_refused(vm, domain, field, value):
    (record,) = rows(domain)
    read, odd = manifest.decode(wrapped(json.dumps({"vms": [record | {field: value}, record]}).encode()))
    assert [str(vm.id) for vm in read] == [record["id"]], "the other one costs it nothing"
    assert len(odd) == 1 and odd[0].startswith(f"VM 1: {field}")


def test_a_name_with_unseen_characters_is_cleaned(vm, domain):
    (record,) = rows(domain)
    (read,), _odd = manifest.decode(wrapped(json.dumps({"vms": [record | {"name": "web\u202e\n01"}]}).encode()))
    assert read.name == "web01"


# -- when they are written; the test driver has no streams, so the bytes themselves are proven on real hosts


def test_only_one_at_a_time_writes_and_who_died_is_followed(vm, domain):
    kept = RecordsKept.objects.create(domain=domain, claimed_at=timezone.now())
    assert not keeping.keep(domain)
    RecordsKept.objects.update(claimed_at=timezone.now() - 2 * keeping.CLAIM)
    assert keeping._claim(kept) and not keeping._claim(kept)


def test_one_domain_that_fails_keeps_no_other_waiting_and_says_why(vm, domain):
    keeping.sweep()
    assert "not supported" in claimed(domain).error and claimed(domain).claimed_at is None
    assert claimed(domain).serial == 0


def test_a_domain_that_no_host_has_and_one_without_vms_are_left_alone(vm, domain, host):
    StorageDomainHost.objects.update(status=StorageStatus.INACTIVE)
    assert not keeping.keep(domain)
    StorageDomainHost.objects.update(status=StorageStatus.ACTIVE)
    vm.attachments.all().delete()
    assert not keeping.keep(domain)
    assert not keeping.keep(make_storage(data_center=host.cluster.data_center, kind="local_dir"))


def test_records_of_another_vireo_are_no_disks_and_ours_are_not_found(admin, host, domain):
    other = "vireo-vms-00000000-0000-4000-8000-000000000001-000004"
    for name in (other, volume_of(domain.pk, 3)):
        pools.create_volume(link_of(host), domain.pool_name, VolumeSpec(name, MIB, "raw"))
    job = domains.scan_domain(admin, domain)
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED, job.error
    (volume,) = FoundVolume.objects.all()
    assert volume.name == other and "another Vireo" in volume.refusal


# -- taking in


@pytest.fixture
def found(vm, domain, admin):
    """The VM and its disk as a scan by a Vireo that has neither writes them down."""
    (record,), _odd = manifest.decode(manifest.encode(keeping.records_of(domain)))
    (disk,) = record.disks
    Disk.objects.get(pk=disk.id).attachments.all().delete()
    Disk.objects.all().delete()
    VM.objects.all().delete()
    FoundVolume.objects.create(domain=domain, name=disk.volume, path="/p", format="qcow2", capacity_bytes=MIB, allocated_bytes=1)
    return FoundVm.objects.create(domain=domain, vm_id=record.id, name=record.name, record=record.model_dump(mode="json"))


def test_it_comes_back_as_it_was(found, admin, domain, host, client):
    page = client.get(reverse("storage:take-in", args=[domain.pk])).content.decode()
    assert "web-01" in page and "Take VMs in" in page
    answer = client.post(reverse("vms:take-in", args=[domain.pk]), {"vm": found.pk, "cluster": host.cluster_id})
    assert answer.status_code == 302
    vm = VM.objects.get()
    assert (vm.pk, vm.name, vm.memory_mib, vm.tags, vm.status, vm.host) == (found.vm_id, "web-01", 256, ["shop"], VmStatus.DOWN, None)
    slot = vm.attachments.get()
    assert (str(slot.disk_id), slot.disk.name, slot.target, slot.io_iops) == (found.record["disks"][0]["id"], "system", "vda", 500)
    nic = vm.nics.get()
    assert nic.network.name == "front" and nic.mac == found.record["nics"][0]["mac"]
    assert not FoundVm.objects.exists() and not FoundVolume.objects.exists()


def test_what_its_disk_builds_on_comes_with_it(found, admin, domain, host):
    FoundVolume.objects.update(backing_path="/base")
    FoundVolume.objects.create(domain=domain, name="base.qcow2", path="/base", format="qcow2", capacity_bytes=MIB, allocated_bytes=1)
    (vm,) = taking.take_in(admin, domain, host.cluster, [found.pk])
    assert vm.attachments.get().disk.backing.name == "base"


def test_a_mac_that_is_taken_and_a_network_that_is_not_there_change(found, admin, domain, host):
    mac = found.record["nics"][0]["mac"]
    other = make_cluster(name="other", data_center=domain.data_center)
    make_nic(make_vm(name="neighbour", cluster=other), mac=mac)
    (vm,) = taking.take_in(admin, domain, other, [found.pk])
    assert vm.nics.get().mac != mac and vm.nics.get().network is None


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda found, cluster: make_vm(name="WEB-01", cluster=cluster), "has a VM of that name"),
    (lambda found, cluster: make_vm(id=found.vm_id, name="x", cluster=cluster), "it is there already"),
    (lambda found, cluster: FoundVolume.objects.all().delete(), "does not lie here"),
    (lambda found, cluster: FoundVolume.objects.update(refusal="its format is vdi"), "format is vdi"),
])  # fmt: skip
def test_what_cannot_be_leaves_nothing_behind(found, admin, domain, host, spoil, words):
    spoil(found, host.cluster)
    before = set(VM.objects.values_list("pk", flat=True))
    with pytest.raises(NotPossible, match=words):
        taking.take_in(admin, domain, host.cluster, [found.pk])
    assert set(VM.objects.values_list("pk", flat=True)) == before and not Disk.objects.exists()


def test_a_disk_of_another_vm_is_not_taken_by_a_record_that_names_it(found, admin, domain):
    FoundVolume.objects.all().delete()
    disk = make_disk(id=found.record["disks"][0]["id"], domain=domain, status=DiskStatus.OK)
    attach(make_vm(name="owner"), disk)
    record = manifest.VmRecord.model_validate(found.record)
    assert "another VM's" in why_not(domain, record, {})


def test_who_may_not_create_vms_there_takes_none(found, domain, host, client):
    client.force_login(make_user("keeper", role="StorageAdmin", on=domain))
    url = reverse("vms:take-in", args=[domain.pk])
    assert client.post(url, {"vm": found.pk, "cluster": host.cluster_id}).status_code in (302, 403)
    assert client.post(url, {"vm": found.pk, "cluster": "nonsense"}).status_code in (302, 403)
    assert not VM.objects.exists()


def test_the_bytes_are_padded_and_read_back_whole(vm, domain):
    """As a block device or a file of whole MiB hands them out."""
    data = manifest.encode(keeping.records_of(domain))
    assert manifest.decode(io.BytesIO(data.ljust(MIB, b"\0")).read()) == (keeping.records_of(domain), [])
