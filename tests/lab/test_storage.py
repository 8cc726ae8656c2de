"""Storage domains and disks on real hosts."""

from dataclasses import replace

import pytest

from hosts.connect import link_of
from hypervisor import storage as pools
from jobs import kinds
from jobs.errors import StepFailed
from jobs.models import Job, JobStatus, Lock
from portal.errors import NotPossible
from storage import domains, on_host, services
from storage.models import Disk, DiskStatus, StorageDomain, StorageDomainHost, StorageKind, StorageStatus


def volumes(host, domain):
    pools.refresh_pool(link_of(host), domain.pool_name)
    return {volume.name for volume in pools.list_volumes(link_of(host), domain.pool_name)}


def new_domain(registered, kind, path, name="more"):
    new = domains.NewDomain(name=name, data_center=registered.cluster.data_center, kind=kind, path=path)
    domain, job = domains.create_domain(registered.admin, new)
    job = registered.run(job)
    domain.refresh_from_db()
    return domain, job


def test_shared_domain_has_its_space_once_and_local_ones_add_up(registered):
    shared, local = registered.shared, registered.local
    shared.refresh_from_db(), local.refresh_from_db()
    assert shared.status == local.status == StorageStatus.ACTIVE
    assert 0 < shared.available_bytes <= shared.capacity_bytes
    assert local.capacity_bytes == 2 * StorageDomainHost.objects.filter(domain=local).first().capacity_bytes


def test_disk_in_a_shared_domain_is_seen_by_both_hosts_and_goes_whole(registered):
    disk, job = services.create_disk(registered.admin, services.NewDisk(name="data", domain=registered.shared, capacity_bytes=8 << 20))
    assert registered.run(job).status == JobStatus.SUCCEEDED
    disk.refresh_from_db()
    assert (disk.status, disk.host) == (DiskStatus.OK, None)
    for host in registered.hosts:
        assert disk.volume_name in volumes(host, registered.shared)
    assert registered.run(services.remove_disk(registered.admin, disk)).status == JobStatus.SUCCEEDED
    assert not Disk.objects.filter(pk=disk.pk).exists()
    assert disk.volume_name not in volumes(registered.hosts[0], registered.shared)


def test_disk_in_a_local_domain_lies_on_the_host_that_was_chosen(registered):
    first, second = registered.hosts
    disk, job = services.create_disk(registered.admin, services.NewDisk(name="data", domain=registered.local, capacity_bytes=8 << 20, host=second))
    registered.run(job)
    assert disk.volume_name in volumes(second, registered.local)
    assert disk.volume_name not in volumes(first, registered.local)


@pytest.mark.parametrize("broken", [0, 1])
def test_disk_whose_job_fails_after_a_step_leaves_no_volume_row_or_lock(registered, monkeypatch, broken):
    disk, job = services.create_disk(registered.admin, services.NewDisk(name="data", domain=registered.shared, capacity_bytes=8 << 20))
    kind = kinds.kind_of("disk.create")
    steps = list(kind.steps(job))
    whole = steps[broken].do

    def fails_at_its_end(ctx):
        whole(ctx)
        raise StepFailed("broken on purpose")

    steps[broken] = replace(steps[broken], do=fails_at_its_end)
    monkeypatch.setitem(kinds._kinds, "disk.create", replace(kind, steps=lambda job: steps))
    assert registered.run(job).status == JobStatus.FAILED
    assert not Disk.objects.filter(pk=disk.pk).exists()
    assert disk.volume_name not in volumes(registered.hosts[0], registered.shared)
    assert not Lock.objects.exists()


def test_directory_that_is_not_the_same_everywhere_is_found_out(registered):
    domain, job = new_domain(registered, StorageKind.SHARED_DIR, "/var/lib/libvirt/alleged")
    assert job.status == JobStatus.SUCCEEDED, job.error
    views = {view.host.name: view for view in domain.on_hosts.select_related("host")}
    assert views["node1"].status == StorageStatus.ACTIVE
    assert views["node2"].status == StorageStatus.INACTIVE
    assert "is not shared" in views["node2"].status_reason
    assert volumes(registered.hosts[0], domain) == set(), "the check's file is gone again"


def test_path_that_is_a_file_fails_with_libvirts_reason_and_can_be_removed(registered):
    for node in registered.lab.nodes():
        (node.root / "local" / "taken").write_text("a file")
    domain = StorageDomain.objects.create(
        name="file", data_center=registered.cluster.data_center, kind=StorageKind.LOCAL_DIR, path=f"{registered.local.path}/taken", status=StorageStatus.INACTIVE
    )
    job = registered.run(domains.activate_domain(registered.admin, domain))
    domain.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert "taken" in job.error
    assert "taken" in job.error_detail
    assert (domain.status, domain.status_reason) == (StorageStatus.INACTIVE, job.error)
    assert registered.run(domains.remove_domain(registered.admin, domain)).status == JobStatus.SUCCEEDED
    assert not StorageDomain.objects.filter(pk=domain.pk).exists()


def test_domain_rests_and_returns(registered):
    shared = registered.shared
    assert registered.run(domains.maintain_domain(registered.admin, shared)).status == JobStatus.SUCCEEDED
    shared.refresh_from_db()
    assert shared.status == StorageStatus.MAINTENANCE
    with pytest.raises(NotPossible, match="maintenance"):
        services.create_disk(registered.admin, services.NewDisk(name="x", domain=shared, capacity_bytes=8 << 20))
    assert registered.run(domains.activate_domain(registered.admin, shared)).status == JobStatus.SUCCEEDED
    shared.refresh_from_db()
    assert shared.status == StorageStatus.ACTIVE


def test_pool_that_vanished_is_seen_by_the_sweep_and_repaired_by_activation(registered):
    host, shared = registered.hosts[0], registered.shared
    pools.remove_pool(link_of(host), shared.pool_name)
    on_host.note(host, on_host.read(host, [shared]))
    view = StorageDomainHost.objects.get(host=host, domain=shared)
    assert (view.status, "gone" in view.status_reason) == (StorageStatus.INACTIVE, True)
    shared.refresh_from_db()
    assert registered.run(domains.activate_domain(registered.admin, shared)).status == JobStatus.SUCCEEDED
    view.refresh_from_db()
    assert view.status == StorageStatus.ACTIVE


def test_template_disk_cannot_be_removed(registered):
    with pytest.raises(NotPossible, match="template Tiny Linux"):
        services.remove_disk(registered.admin, registered.template.disks.get())
    assert not Job.objects.filter(kind="disk.remove").exists()
