"""Disks on pages and through the API: the same rules, and ids that are another's do not exist."""

import pytest
from django.urls import reverse

from accounts.permissions import grant
from jobs.models import Job
from storage.models import Disk
from tests.build import attach, make_cluster, make_disk, make_storage, make_user, make_vm
from tests.unit.api.test_people_api import Caller
from vms.models import VmStatus

pytestmark = pytest.mark.django_db
MIB = 1 << 20


@pytest.fixture
def vm():
    made = make_vm(name="web-01", cluster=make_cluster(name="Default"), status=VmStatus.DOWN)
    made.slot = attach(
        made, make_disk(name="system", domain=make_storage(name="shared", data_center=made.cluster.data_center), capacity_bytes=8 * MIB)
    )
    return made


@pytest.fixture
def root(client):
    return Caller(client, make_user("root", role="SuperUser"))


@pytest.fixture
def admin(client):
    user = make_user("admin", role="SuperUser")
    client.force_login(user)
    return user


def test_every_form_draws_and_says_what_is_wrong(client, admin, vm):
    disk = vm.slot.disk
    pages = [reverse(name, args=[vm.pk]) for name in ("vms:attach-disk", "vms:new-disk")] + [
        reverse("vms:disk-limits", args=[vm.pk, vm.slot.pk])
    ]
    pages += [reverse(f"storage:{verb}-disk", args=[disk.pk]) for verb in ("resize", "move", "copy")]
    for page in pages:
        assert client.get(page).status_code == 200, page
        assert client.post(page, {"csrfmiddlewaretoken": "x"}).status_code == 422, page
    assert not Job.objects.exists()


def test_the_tab_offers_what_can_be_done(client, admin, vm):
    text = client.get(vm.get_absolute_url() + "?tab=disks").content.decode()
    for words in ("Attach disk", "New disk", "Limits…", "Resize…", "Detach"):
        assert words in text


def test_a_new_disk_is_made_from_the_form(client, admin, vm):
    data = {"capacity_bytes": "1 GiB", "domain": vm.slot.disk.domain_id, "format": "qcow2", "bus": "scsi"}
    answer = client.post(reverse("vms:new-disk", args=[vm.pk]), data)
    assert answer.status_code == 302
    assert (vm.attachments.get(target="sda").disk.capacity_bytes, Job.objects.get().kind) == (1 << 30, "vm.attach_new_disk")


def test_detaching_from_the_page(client, admin, vm):
    assert client.post(reverse("vms:detach-disk", args=[vm.pk, vm.slot.pk])).status_code == 302
    assert Job.objects.get().kind == "vm.detach_disk"


def test_a_slot_of_another_vm_is_not_found(client, admin, vm):
    other = make_vm(name="other", cluster=vm.cluster)
    assert client.post(reverse("vms:detach-disk", args=[other.pk, vm.slot.pk])).status_code == 404


def test_the_form_offers_only_disks_that_are_free_and_the_users(client, vm):
    user = make_user("eve", role="UserVmManager", on=vm)
    mine, foreign = (make_disk(name=name, domain=vm.slot.disk.domain) for name in ("mine", "foreign"))
    grant("UserVmManager", mine, user=user)
    client.force_login(user)
    text = client.get(reverse("vms:attach-disk", args=[vm.pk])).content.decode()
    assert "mine" in text and "foreign" not in text
    answer = client.post(reverse("vms:attach-disk", args=[vm.pk]), {"disk": foreign.pk, "bus": "virtio"})
    assert (answer.status_code, vm.attachments.count()) == (422, 1)


def test_the_api_attaches_limits_and_detaches(root, vm):
    disk = make_disk(name="data", domain=vm.slot.disk.domain)
    made = root("post", f"/vms/{vm.pk}/attachments", {"disk": "data"})
    assert made.status_code == 202
    assert (made.json()["attachment"]["target"], made.json()["attachment"]["disk"]["id"]) == ("vdb", str(disk.pk))
    Job.objects.all().delete()
    assert root("patch", f"/vms/{vm.pk}/attachments/{vm.slot.pk}", {}).status_code == 405
    assert root("patch", f"/vms/{vm.pk}/attachments/{vm.slot.pk}/limits", {"io_iops": 100}).status_code == 202
    Job.objects.all().delete()
    assert root("delete", f"/vms/{vm.pk}/attachments/{vm.slot.pk}").status_code == 202
    assert [row["target"] for row in root("get", f"/vms/{vm.pk}/attachments").json()] == ["vda", "vdb"]


@pytest.mark.parametrize("body", [{"bus": "virtio"}, {"disk": "data", "storage_domain": "shared"}, {"storage_domain": "shared"}, {"disk": "no such"}])
def test_the_api_says_what_is_missing(root, vm, body):
    make_disk(name="data", domain=vm.slot.disk.domain)
    assert root("post", f"/vms/{vm.pk}/attachments", body).status_code == 422


def test_the_api_resizes_and_charges_at_once(root, vm):
    disk = vm.slot.disk
    assert root("post", f"/disks/{disk.pk}/resize", {"capacity_bytes": 4 * MIB}).status_code == 422
    assert Disk.objects.get(pk=disk.pk).capacity_bytes == 8 * MIB
    assert root("post", f"/disks/{disk.pk}/resize", {"capacity_bytes": 16 * MIB}).status_code == 202
    assert Disk.objects.get(pk=disk.pk).capacity_bytes == 16 * MIB
    assert root("post", f"/disks/{disk.pk}/resize", {"capacity_bytes": 32 * MIB}).status_code == 409


def test_the_api_moves_and_copies(root, vm):
    disk = vm.slot.disk
    target = make_storage(name="target", data_center=vm.cluster.data_center, path="/srv/target")
    assert root("post", f"/disks/{disk.pk}/move", {"storage_domain": "shared"}).status_code == 422  # it lies there
    assert root("post", f"/disks/{disk.pk}/move", {"storage_domain": target.name}).status_code == 202
    Job.objects.all().delete()
    made = root("post", f"/disks/{disk.pk}/copy", {"storage_domain": target.name, "name": "copy"})
    assert (made.status_code, made.json()["disk"]["name"]) == (202, "copy")


def test_a_thin_base_neither_moves_nor_grows(root, vm):
    make_disk(name="copy", domain=vm.slot.disk.domain, backing=vm.slot.disk)
    target = make_storage(name="target", data_center=vm.cluster.data_center, path="/srv/target")
    assert root("post", f"/disks/{vm.slot.disk.pk}/move", {"storage_domain": target.name}).status_code == 409
    assert root("post", f"/disks/{vm.slot.disk.pk}/resize", {"capacity_bytes": 16 * MIB}).status_code == 409
