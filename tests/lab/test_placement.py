"""A VM whose host rests starts on another, and is defined there alone."""

from hosts import services as hosts
from hosts.connect import link_of
from hosts.models import HostStatus
from hypervisor import domains
from jobs.models import JobStatus
from vms import services
from vms.models import VM, VmStatus
from vms.services import NewVm


def test_a_vm_starts_elsewhere_when_its_host_rests(registered):
    new = NewVm(name="web-01", cluster=registered.cluster, template=registered.template, memory_mib=128, storage_domain=registered.shared)
    vm, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED
    vm.refresh_from_db()
    home = vm.host
    other = next(host for host in registered.hosts if host != home)
    registered.run(hosts.maintenance(registered.admin, home))
    home.refresh_from_db()
    assert home.status == HostStatus.MAINTENANCE
    job = registered.run(services.act(registered.admin, VM.objects.select_related("host").get(pk=vm.pk), "start"))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    vm.refresh_from_db()
    assert vm.host == other and vm.status in (VmStatus.POWERING_UP, VmStatus.UP)
    assert [record.uuid for record in domains.list_domains(link_of(home))] == []
    assert [record.uuid for record in domains.list_domains(link_of(other))] == [str(vm.pk)]
    decision = vm.decisions.first()
    assert decision.host == other and not decision.stays
    assert {verdict["name"]: verdict["reason"] for verdict in decision.verdicts}[home.name] == "it is in maintenance"
