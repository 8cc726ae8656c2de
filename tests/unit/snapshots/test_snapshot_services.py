"""The verbs on snapshots, their pages, their API and the portal, without a host: what is asked for, and what is refused."""

import json

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse

from accounts.quotas.models import Quota, QuotaHolder, QuotaLimit
from accounts.tokens import create
from hosts.models import QuotaMode
from jobs.errors import ObjectBusy
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from storage import services as storage
from storage.images import downloads
from storage.models import Disk, StorageKind
from tests.build import attach, make_disk, make_host, make_snapshot, make_storage, make_user, make_vm
from vms import services as vms
from vms.disks import resize, transfer
from vms.disks import services as disks
from vms.models import VM, Snapshot, VmStatus
from vms.snapshots import services

pytestmark = pytest.mark.django_db
HOST = {"driver": "QEMU", "capabilities": {"features": ["snapshots", "display"]}}


@pytest.fixture
def vm():
    """With one disk in a shared directory, on a host that takes snapshots."""
    host = make_host(**HOST)
    vm = make_vm(name="web-01", host=host, cluster=host.cluster, status=VmStatus.DOWN)
    disk = make_disk(
        name="data", domain=make_storage(kind=StorageKind.SHARED_DIR, data_center=host.cluster.data_center), path="/s/data.qcow2"
    )
    attach(vm, disk)
    return vm


@pytest.fixture
def disk(vm):
    return vm.attachments.get().disk


@pytest.fixture
def root():
    return make_user("root", role="SuperUser")


def test_taking_one_makes_its_row_and_locks_vm_and_disk(vm, disk, root):
    snapshot, job = services.take(root, vm, "before the upgrade", "as installed")
    assert (job.kind, job.title) == ("snapshot.take", "Take snapshot before the upgrade of web-01")
    assert (snapshot.status, snapshot.note, snapshot.created_by) == ("taking", "as installed", root)
    assert {lock.object_type for lock in job.locks.all()} == {"vm", "snapshot", "disk"}
    with pytest.raises(ObjectBusy):
        services.take(root, vm, "another")


def test_the_guests_owner_takes_them_and_who_only_runs_it_does_not(vm):
    services.take(make_user("owner", role="UserVmManager", on=vm), vm, "mine")
    with pytest.raises(PermissionDenied):
        services.take(make_user("runner", role="UserRole", on=vm), vm, "not mine")


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("", {}, "name"),
        ("a\nb", {}, "name"),
        ("before", {}, "name"),
        ("new", {"memory": True}, "memory"),
        ("new", {"quiesce": True}, "quiesce"),
    ],
)
def test_bad_input_is_refused_at_its_field(vm, root, name, options, field):
    make_snapshot(vm, name="Before")
    with pytest.raises(FieldError) as refused:
        services.take(root, vm, name, **options)
    assert refused.value.field == field
    assert not Job.objects.exists()


def test_what_no_layer_can_lie_over_is_refused_with_the_reason(vm, disk, root):
    disk.domain.kind = StorageKind.RBD
    disk.domain.save(update_fields=["kind"])
    with pytest.raises(NotPossible, match="whose disks are no files"):
        services.take(root, vm, "new")
    vm.attachments.all().delete()
    with pytest.raises(NotPossible, match="no disk of its own"):
        services.take(root, vm, "new")


def test_a_running_vm_is_powered_off_only_when_that_is_asked_for(vm, disk, root):
    snapshot = make_snapshot(vm, disk)
    VM.objects.filter(pk=vm.pk).update(status=VmStatus.UP)
    with pytest.raises(FieldError, match="while it is off"):
        services.revert(root, vm, snapshot)
    assert services.revert(root, vm, snapshot, poweroff=True).params["poweroff"] is True


def test_a_disk_in_snapshots_stays_where_it_is(vm, disk, root):
    """Its files are one tree that the VM alone knows."""
    make_snapshot(vm, disk)
    other = make_storage(data_center=vm.cluster.data_center)
    refused = [
        lambda: disks.detach(root, vm.attachments.get()),
        lambda: disks.share(root, Disk.objects.get(pk=disk.pk), True),
        lambda: resize.resize(root, disk, disk.capacity_bytes * 2),
        lambda: transfer.move(root, disk, other),
        lambda: storage.remove_disk(root, Disk.objects.get(pk=disk.pk)),
    ]
    for verb in refused[:4]:
        with pytest.raises(NotPossible, match="belongs to snapshots of its VM"):
            verb()
    with pytest.raises(NotPossible):
        refused[4]()
    with pytest.raises(NotPossible, match="export it, which makes it whole"):
        downloads.size_of(disk)
    transfer.copy(root, disk, transfer.NewCopy(name="a copy", domain=disk.domain))
    assert Job.objects.get().kind == "disk.copy"


def test_a_vm_with_snapshots_takes_its_disks_along_when_it_goes(vm, disk, root):
    make_snapshot(vm, disk)
    with pytest.raises(NotPossible, match="snapshot"):
        vms.remove(root, vm, keep_disks=True)
    assert {lock.object_type for lock in vms.remove(root, vm).locks.all()} == {"vm", "disk", "snapshot"}


def test_a_quota_counts_snapshots(vm):
    owner = make_user("owner", role="UserVmManager", on=vm)
    center = vm.cluster.data_center
    center.quota_mode = QuotaMode.ENFORCED
    center.save(update_fields=["quota_mode"])
    quota = Quota.objects.create(name="small", data_center=center)
    QuotaHolder.objects.create(quota=quota, user=owner)
    QuotaLimit.objects.create(quota=quota, resource="snapshots", amount=1)
    VM.objects.filter(pk=vm.pk).update(quota=quota)
    vm.refresh_from_db()
    services.take(owner, vm, "the one")
    Job.objects.all().delete()
    Snapshot.objects.update(status="ok")
    with pytest.raises((NotPossible, FieldError), match="(?i)snapshot"):
        services.take(owner, vm, "one too many")


def test_pages_show_the_tree_and_escape_what_people_write(vm, disk, root, client):
    snapshot = make_snapshot(vm, disk, name="<b>bold</b>")
    client.force_login(root)
    page = client.get(vm.get_absolute_url() + "?tab=snapshots").content.decode()
    assert "&lt;b&gt;bold" in page and "<b>bold" not in page
    for name in ("edit", "preview", "revert", "clone", "template"):
        answer = client.get(reverse(f"vms:snapshot-{name}", args=[vm.pk, snapshot.pk]))
        assert answer.status_code == 200 and "<b>bold" not in answer.content.decode(), name
    assert client.post(reverse("vms:take-snapshot", args=[vm.pk]), {"name": "new", "note": ""}).status_code == 302
    assert Job.objects.get().kind == "snapshot.take"


def test_a_snapshot_of_another_vm_is_not_found(vm, disk, root, client):
    foreign = make_snapshot(make_vm(name="foreign"))
    client.force_login(root)
    for name in ("edit", "preview", "revert", "clone", "template"):
        assert client.get(reverse(f"vms:snapshot-{name}", args=[vm.pk, foreign.pk])).status_code == 404
    assert client.post(reverse("vms:snapshot-delete", args=[vm.pk, foreign.pk])).status_code == 404


def test_the_portal_shows_them_to_who_may_take_them(vm, disk, client):
    make_snapshot(vm, disk, name="as delivered")
    client.force_login(make_user("owner", role="UserVmManager", on=vm))
    assert "as delivered" in client.get(vm.get_absolute_url()).content.decode()
    client.force_login(make_user("runner", role="UserRole", on=vm))
    assert "Take snapshot" not in client.get(vm.get_absolute_url()).content.decode()


def test_the_api_lists_takes_renames_and_deletes(vm, disk, root, client):
    headers = {"Authorization": f"Bearer {create(root, 'test')[1]}"}

    def call(method, path, body=None):
        url = f"/api/v1/vms/{vm.pk}/snapshots{path}"
        return client.generic(method, url, json.dumps(body or {}), content_type="application/json", headers=headers)

    snapshot = make_snapshot(vm, disk)
    assert [row["name"] for row in call("GET", "").json()["items"]] == ["before"]
    assert call("PATCH", f"/{snapshot.pk}", {"note": "kept"}).json()["note"] == "kept"
    assert call("DELETE", f"/{snapshot.pk}").json()["kind"] == "snapshot.delete"
    assert call("POST", "", {"name": "new"}).status_code == 409
    Job.objects.all().delete()
    Snapshot.objects.update(status="ok")
    assert call("POST", "", {"name": "new"}).status_code == 202
