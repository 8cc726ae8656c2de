"""The jobs of hosts on libvirt's test driver, which lacks half the calls and has no SMBIOS data."""

import pytest

from hosts import services
from hosts.models import Host, HostStatus
from jobs import runner
from jobs.models import Job, JobStatus, Lock
from storage.models import StorageDomainHost
from tests.build import make_cluster, make_network, make_storage, make_user
from vms.models import VM

pytestmark = pytest.mark.django_db(transaction=True)
XML = "<node><domain type='test'><name>guest-{n}</name><uuid>0e1d2c3b-0000-4000-8000-00000000000{n}</uuid><memory>65536</memory><os><type>hvm</type></os></domain></node>"


@pytest.fixture
def added(tmp_path):
    """A host of the test driver with one running domain, and how its job ended."""
    file = tmp_path / "host.xml"
    file.write_text(XML.format(n=1))
    cluster = make_cluster()
    make_network(cluster=cluster, cidr="10.66.0.0/24")
    make_storage(data_center=cluster.data_center, path="/srv/vireo-test")
    new = services.NewHost(name="scale-1", cluster=cluster, address="192.0.2.1", transport="test", test_uri=f"test://{file}")
    host, job = services.add(make_user("root", role="SuperUser"), new)
    runner.run(job.pk)
    return Host.objects.get(pk=host.pk), Job.objects.get(pk=job.pk)


def test_driver_that_lacks_half_the_calls_joins_with_what_it_knows(added):
    host, job = added
    assert (job.status, host.status) == (JobStatus.SUCCEEDED, HostStatus.UP), (job.error, job.error_detail)
    assert host.driver.upper() == "TEST"
    assert not host.runs_kvm
    assert "console" not in host.capabilities["features"]
    assert host.capabilities["serial"] == ""


def test_its_domains_are_adopted_once_however_often_it_is_read(added):
    host, _job = added
    assert VM.objects.get(host=host).name == "guest-1"
    host.status = HostStatus.MAINTENANCE
    host.save()
    from accounts.models import User

    job = services.activate(User.objects.get(), host)
    runner.run(job.pk)
    assert VM.objects.count() == 1


def test_job_delivered_twice_runs_once_and_frees_its_lock(added):
    host, job = added
    assert not runner.run(job.pk)
    assert not Lock.objects.exists()
    assert StorageDomainHost.objects.filter(host=host).count() == 1


@pytest.mark.parametrize("index", range(7))
def test_adding_that_fails_at_any_step_leaves_a_host_with_the_reason_and_no_lock(tmp_path, monkeypatch, index):
    from dataclasses import replace

    from jobs import kinds
    from jobs.errors import StepFailed

    file = tmp_path / "host.xml"
    file.write_text(XML.format(n=2))
    kind = kinds.kind_of("host.add")
    steps = list(kind.steps(Job()))
    whole = steps[index].do

    def fails_at_its_end(ctx):
        whole(ctx)
        raise StepFailed("broken on purpose")

    steps[index] = replace(steps[index], do=fails_at_its_end)
    monkeypatch.setitem(kinds._kinds, "host.add", replace(kind, steps=lambda job: steps))
    new = services.NewHost(name="scale-2", cluster=make_cluster(), address="192.0.2.2", transport="test", test_uri=f"test://{file}")
    admin = make_user(role="SuperUser")
    host, job = services.add(admin, new)
    runner.run(job.pk)
    host.refresh_from_db()
    job.refresh_from_db()
    assert (job.status, job.error) == (JobStatus.FAILED, "broken on purpose")
    assert not Lock.objects.exists()
    assert (host.status, host.status_reason) == (HostStatus.NON_OPERATIONAL, "broken on purpose")
