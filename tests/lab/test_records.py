"""A shared storage domain that a Vireo lost, database and all, comes back with the VMs on it."""

from hosts.connect import link_of
from hypervisor import domains as libvirt_domains
from hypervisor import storage as pools
from jobs.models import JobStatus
from storage import domains, on_host
from storage.models import Disk, StorageKind
from vms import services
from vms.models import VM, Template, VmStatus
from vms.records import keeping, manifest, taking
from vms.records.models import RecordsKept
from vms.records.volumes import volume_of
from vms.services import NewVm


def records_in(registered) -> list[str]:
    return sorted(file.name for file in registered.lab.shared.glob("vireo-vms-*"))


def made(registered, name, start=False):
    new = NewVm(
        name=name, cluster=registered.cluster, template=registered.template, memory_mib=128, storage_domain=registered.shared, start=start
    )
    vm, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    return VM.objects.select_related("cluster", "host").get(pk=vm.pk)


def lose_everything(registered) -> None:
    """As when the portal burned down: hosts are set up anew, and nobody knows of the storage."""
    for host in registered.hosts:
        for record in libvirt_domains.list_domains(link_of(host)):
            libvirt_domains.undefine(link_of(host), record.uuid)
        on_host.release(registered.shared, host)
    VM.objects.all().delete()
    Template.objects.all().delete()
    Disk.objects.filter(domain=registered.shared, backing__isnull=False).delete()
    Disk.objects.filter(domain=registered.shared).delete()
    registered.shared.delete()


def test_each_change_is_written_once_in_the_place_of_the_last(registered):
    assert not keeping.keep(registered.shared), "there is nothing to write yet"
    vm = made(registered, "web-01")
    assert keeping.keep(registered.shared) and not keeping.keep(registered.shared)
    first = records_in(registered)
    _vm, job = services.edit(registered.admin, vm, {"description": "the shop"})
    assert registered.run(job).status == JobStatus.SUCCEEDED
    assert keeping.keep(registered.shared)
    (second,) = records_in(registered)
    assert [second] != first
    (record,), _odd = manifest.decode((registered.lab.shared / second).read_bytes())
    assert record.description == "the shop"
    assert registered.run(services.remove(registered.admin, VM.objects.get(pk=vm.pk))).status == JobStatus.SUCCEEDED
    assert keeping.keep(registered.shared)
    assert records_in(registered) == [], "the last VM takes them with it"


def test_who_died_while_writing_leaves_what_the_next_one_replaces(registered):
    made(registered, "web-01")
    half = volume_of(registered.shared.pk, 1)
    (registered.lab.shared / half).write_bytes(b"VIREO-VMS 1 999")
    for host in registered.hosts:
        pools.refresh_pool(link_of(host), registered.shared.pool_name)
    assert keeping.keep(registered.shared)
    assert manifest.decode((registered.lab.shared / half).read_bytes())[0]


def test_a_domain_that_rests_has_its_vms_written_down(registered):
    made(registered, "web-01")
    job = registered.run(domains.maintain_domain(registered.admin, registered.shared))
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert RecordsKept.objects.get().vms == 1 and len(records_in(registered)) == 1


def test_after_the_portal_was_lost_its_vms_run_again(registered):
    vm = made(registered, "web-01", start=True)
    assert registered.run(services.act(registered.admin, vm, "poweroff")).status == JobStatus.SUCCEEDED
    assert keeping.keep(registered.shared)
    mac, volume = vm.nics.get().mac, vm.attachments.get(device="disk").disk.volume_name
    path, center = registered.shared.path, registered.shared.data_center
    lose_everything(registered)

    new = domains.NewDomain(name="back", data_center=center, kind=StorageKind.SHARED_DIR, path=path, takes_in=True)
    domain, job = domains.create_domain(registered.admin, new)
    job = registered.run(job)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    (found,) = domain.found_vms.all()
    assert (found.name, found.vm_id, found.refusal) == ("web-01", vm.pk, "")
    domain.refresh_from_db()
    (back,) = taking.take_in(registered.admin, domain, registered.cluster, [found.pk])
    assert back.nics.get().mac == mac and back.attachments.get(device="disk").disk.volume_name == volume
    job = registered.run(services.act(registered.admin, VM.objects.select_related("cluster", "host").get(pk=back.pk), "start"))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    assert VM.objects.get(pk=back.pk).status in (VmStatus.UP, VmStatus.POWERING_UP)
    assert keeping.keep(domain), "this Vireo writes them down by its own name for the domain"
    assert len(records_in(registered)) == 2
