"""Pages of quotas, and the quota in the portal."""

import pytest
from django.urls import reverse

from accounts.models import Group
from accounts.permissions import grant
from accounts.quotas.models import Quota, QuotaHolder, Resource
from accounts.tokens import create
from tests.build import make_data_center, make_disk, make_storage, make_user, make_vm
from vms.models import VM

pytestmark = pytest.mark.django_db


def test_a_quota_is_made_changed_and_removed(client, site):
    client.force_login(site.root)
    page = client.get("/quotas/new/").content.decode()
    assert f"vcpus-{site.cluster.pk}" in page and f"storage_bytes-{site.storage.pk}" in page
    percents = {"compute_threshold": 80, "compute_grace": 0, "storage_threshold": 80, "storage_grace": 10}
    body = {"name": "Shop", "vms": "5", "memory_mib": "8 GiB", f"storage_bytes-{site.storage.pk}": "20G", **percents}
    assert client.post("/quotas/new/", body | {"memory_mib": "much"}).status_code == 422
    quota = Quota.objects.get(pk=client.post("/quotas/new/", body).headers["Location"].split("/")[-2])
    assert {str(limit) for limit in quota.limits.all()} == {"5 VMs", "8 GiB of memory", "20 GiB of storage in storage domain shared"}
    edit = client.get(f"/quotas/{quota.pk}/edit/").content.decode()
    assert 'value="8 GiB"' in edit and 'value="Shop"' in edit
    assert client.post(f"/quotas/{quota.pk}/edit/", body | {"vms": ""}).status_code == 302
    assert quota.limits.count() == 2
    assert client.post(f"/quotas/{quota.pk}/remove/").status_code == 302
    assert not Quota.objects.exists()


def test_holders_come_and_go(client, site):
    quota, staff = site.quota(), Group.objects.create(name="Staff")
    client.force_login(site.root)
    url = reverse("accounts:add-quota-holder", args=[quota.pk])
    assert client.post(url, {"group": "staff"}).status_code == 302
    assert client.post(url, {"user": "nobody-here"}).status_code == 422
    assert client.post(url, {}).status_code == 422
    holder = QuotaHolder.objects.get(group=staff)
    assert "Staff" in client.get(f"/quotas/{quota.pk}/").content.decode()
    client.post(reverse("accounts:remove-quota-holder", args=[holder.pk]))
    assert not QuotaHolder.objects.filter(group=staff).exists()


def test_the_mode_is_set_where_one_may(client, site):
    client.force_login(make_user("dc", role="DataCenterAdmin", on=site.data_center))
    url = reverse("accounts:quota-mode", args=[site.data_center.pk])
    client.post(url, {"mode": "audit"})
    client.post(url, {"mode": "nonsense"})
    site.data_center.refresh_from_db()
    assert site.data_center.quota_mode == "audit"
    other = make_data_center(name="Other")
    assert client.post(reverse("accounts:quota-mode", args=[other.pk]), {"mode": "enforced"}).status_code == 404


def test_who_manages_one_data_center_makes_none_in_another(client, site):
    other = make_data_center(name="Other")
    client.force_login(make_user("dc", role="DataCenterAdmin", on=site.data_center))
    theirs = Quota.objects.create(name="theirs", data_center=other)
    for path in (f"/quotas/{theirs.pk}/", f"/quotas/{theirs.pk}/edit/"):
        assert client.get(path).status_code == 404
    assert client.post(f"/quotas/{theirs.pk}/remove/").status_code == 404
    percents = {"compute_threshold": 80, "compute_grace": 0, "storage_threshold": 80, "storage_grace": 0}
    body = {"name": "x", f"storage_bytes-{make_storage(data_center=other).pk}": "1G", **percents}
    client.post(f"/quotas/new/?data_center={other.pk}", body)
    made = Quota.objects.get(name="x")
    assert made.data_center == site.data_center and not made.limits.exists()


def test_the_portal_shows_what_is_left_and_what_a_machine_would_take(client, site):
    site.quota(vms=3, memory_mib=1024)
    client.force_login(site.eve)
    home = client.get("/").content.decode()
    assert "Your quota" in home and "0 of 3" in home.replace("<span data-share-used>", "").replace("</span>", "")
    page = client.get("/my/new/").content.decode()
    assert "Your quota" in page and "&quot;storage_bytes&quot;: 1073741824" in page


def test_the_portal_says_at_the_field_what_does_not_fit(client, site):
    site.quota(memory_mib=64)
    client.force_login(site.eve)
    answer = client.post("/my/new/", {"name": "big", "template": site.template.pk})
    assert answer.status_code == 422 and "Quota small allows 64 MiB of memory" in answer.content.decode()
    assert not VM.objects.exists()


def test_who_holds_a_quota_sees_it_and_no_other(client, site):
    mine, theirs = site.quota(), site.quota(name="theirs", holder=make_user("somebody"))
    client.force_login(site.eve)
    assert client.get(f"/quotas/{mine.pk}/").status_code == 200
    assert client.get(f"/quotas/{theirs.pk}/").status_code == 404
    assert "theirs" not in client.get("/quotas/").content.decode()
    assert client.post(f"/quotas/{mine.pk}/remove/").status_code == 403


def test_another_ones_quota_in_a_form_is_refused(client, site):
    site.quota()
    theirs = site.quota(name="theirs", holder=make_user("somebody"))
    client.force_login(site.eve)
    body = {"name": "x", "cluster": site.cluster.pk, "template": site.template.pk, "memory_mib": "512 MiB", "vcpus": 1, "firmware": "bios"}
    assert client.post("/vms/new/", body | {"quota": theirs.pk}).status_code == 422
    assert not VM.objects.exists()


def test_the_api_says_what_is_used_of_ones_own(client, site):
    mine, theirs = site.quota(vms=2, places={(Resource.VCPUS, site.cluster.pk): 4}), site.quota(name="theirs", holder=make_user("somebody"))
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {create(site.eve, 'test')[1]}"}
    found = client.get("/api/v1/quotas", **bearer).json()
    assert found["count"] == 1 and found["items"][0]["mode"] == "enforced"
    limits = {
        (each["resource"], (each["cluster"] or {}).get("name")): (each["amount"], each["used"]) for each in found["items"][0]["limits"]
    }
    assert limits == {("vms", None): (2, 0), ("vcpus", "Default"): (4, 0)}
    assert client.get(f"/api/v1/quotas/{mine.pk}", **bearer).status_code == 200
    assert client.get(f"/api/v1/quotas/{theirs.pk}", **bearer).status_code == 404


def test_the_full_form_says_what_a_vm_would_take_and_where(client, site):
    quota = site.quota(vms=3, places={(Resource.STORAGE, site.storage.pk): 5 << 30})
    client.force_login(site.eve)
    for path in ("/vms/new/", "/my/new/"):
        page = client.get(path).content.decode()
        assert f'data-quota="{quota.pk}" data-clusters="{site.cluster.pk}"' in page
        assert f'data-share="storage_bytes" data-place="{site.storage.pk}"' in page
        assert f'data-storage="{site.storage.pk}"' in page and "&quot;storage_bytes&quot;: 1073741824" in page
    assert f'data-cluster="{site.cluster.pk}"' in page
    client.force_login(make_user("without", role="VmCreator", on=site.data_center))
    assert "data-quota=" not in client.get("/vms/new/").content.decode()


def test_who_resizes_sees_what_is_left_of_that_machines_quota_alone(client, site):
    mine, _other = site.quota(name="mine", memory_mib=1024), site.quota(name="other", memory_mib=2048)
    vm = make_vm(cluster=site.cluster, owner=site.eve, quota=mine)
    grant("UserVmManager", vm, user=site.eve)
    client.force_login(site.eve)
    page = client.get(f"/my/vms/{vm.pk}/resize/").content.decode()
    assert page.count("data-quota=") == 1 and "of 1 GiB" in page


def test_the_data_centers_page_has_its_quotas_and_their_mode(client, site):
    site.quota(vms=7)
    client.force_login(make_user("dc", role="DataCenterAdmin", on=site.data_center))
    page = client.get(site.data_center.get_absolute_url()).content.decode()
    assert "small" in page and "7 VMs" in page and '<option value="enforced" selected>' in page
    answer = client.post(reverse("accounts:quota-mode", args=[site.data_center.pk]), {"mode": "off", "back": "data_center"})
    assert answer.headers["Location"] == site.data_center.get_absolute_url()
    client.force_login(site.eve)
    assert "7 VMs" not in client.get(site.data_center.get_absolute_url()).content.decode()


def test_a_quotas_page_lists_the_disks_that_no_vm_has(client, site):
    quota = site.quota()
    make_disk(name="spare", domain=site.storage, quota=quota)
    client.force_login(site.root)
    assert "spare" in client.get(f"/quotas/{quota.pk}/").content.decode()
