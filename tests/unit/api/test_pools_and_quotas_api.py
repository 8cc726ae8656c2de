"""Pools and quotas through the API: the same rules as on the pages."""

import pytest

from accounts.models import Quota
from accounts.permissions import grant
from tests.build import make_cluster, make_storage, make_template, make_user, make_vm
from tests.unit.api.test_people_api import Caller
from vms.models import VM
from vms.pools.models import Pool

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client):
    return Caller(client, make_user("root", role="SuperUser"))


@pytest.fixture
def cluster():
    return make_cluster(name="lab")


@pytest.fixture
def template(cluster):
    return make_template(name="tiny", data_center=cluster.data_center)


@pytest.fixture
def pool(cluster, template):
    made = Pool.objects.create(name="desks", cluster=cluster, template=template, size=1)
    make_vm(name="desks-1", cluster=cluster, pool=made, status="up")
    return made


def test_a_pool_is_made_changed_and_removed(root, cluster, template):
    made = root("post", "/pools", {"name": "desks", "cluster": "lab", "template": "tiny", "size": 3, "prestarted": 1})
    assert made.status_code == 201 and made.json()["size"] == 3 and made.json()["free"] == 0
    path = f"/pools/{made.json()['id']}"
    assert root("patch", path, {"size": 2}).json()["size"] == 2
    assert root("patch", path, {"prestarted": 5}).status_code == 422
    assert root("patch", path, {"keeper": "eve"}).status_code == 422
    assert [each["name"] for each in root("get", "/pools?cluster=LAB").json()["items"]] == ["desks"]
    assert root("delete", path).status_code == 204 and not Pool.objects.exists()


@pytest.mark.parametrize(("field", "value"), [("cluster", "nowhere"), ("template", "nothing"), ("cluster", ""), ("size", 0), ("size", 501)])
def test_what_is_none_is_refused(root, cluster, template, field, value):
    body = {"name": "desks", "cluster": "lab", "template": "tiny"} | {field: value}
    assert root("post", "/pools", body).status_code == 422 and not Pool.objects.exists()


def test_a_user_takes_a_machine_and_gives_it_back(client, pool):
    eve, other = make_user("eve", role="VmPoolUser", on=pool), make_user("other", role="VmPoolUser", on=pool)
    call, others = Caller(client, eve), Caller(client, other)
    taken = call("post", f"/pools/{pool.pk}/take", {})
    assert taken.status_code == 200 and taken.json()["name"] == "desks-1"
    assert others("post", f"/pools/{pool.pk}/take", {}).status_code == 409
    path = f"/pools/{pool.pk}/give-back/{taken.json()['id']}"
    assert others("post", path, {}).status_code == 404, "they do not even see it"
    assert call("post", path, {}).status_code == 204
    assert VM.objects.get().taken_by is None and VM.objects.get().to_reset


def test_a_machine_is_given_back_to_its_own_pool_alone(root, pool, cluster, template):
    other = Pool.objects.create(name="others", cluster=cluster, template=template, size=1)
    assert root("post", f"/pools/{other.pk}/give-back/{VM.objects.get().pk}", {}).status_code == 422


def test_who_may_only_use_a_pool_changes_nothing(client, pool):
    call = Caller(client, make_user("eve", role="VmPoolUser", on=pool))
    assert call("get", f"/pools/{pool.pk}").status_code == 200
    assert call("patch", f"/pools/{pool.pk}", {"size": 9}).status_code == 403
    assert call("delete", f"/pools/{pool.pk}").status_code == 403
    assert call("post", "/pools", {"name": "mine", "cluster": str(pool.cluster_id), "template": "tiny"}).status_code in (403, 422)
    assert Pool.objects.get().size == 1


def test_a_quota_is_made_with_limits_and_changed(root, cluster):
    storage = make_storage(name="disks", data_center=cluster.data_center)
    limits = [
        {"resource": "vms", "amount": 5},
        {"resource": "vcpus", "amount": 8, "cluster": "lab"},
        {"resource": "storage_bytes", "amount": 1 << 30, "storage_domain": str(storage.pk)},
    ]
    made = root("post", "/quotas", {"name": "team", "data_center": cluster.data_center.name, "limits": limits, "compute_grace": 10})
    assert made.status_code == 201, made.content
    assert {(row["resource"], row["amount"]) for row in made.json()["limits"]} == {("vms", 5), ("vcpus", 8), ("storage_bytes", 1 << 30)}
    path = f"/quotas/{made.json()['id']}"
    assert root("patch", path, {"name": "crew"}).json()["name"] == "crew"
    assert len(root("get", path).json()["limits"]) == 3, "what was not given stays"
    assert len(root("patch", path, {"limits": limits[:1]}).json()["limits"]) == 1
    assert Quota.objects.get().compute_grace == 10
    assert root("delete", path).status_code == 204 and not Quota.objects.exists()


@pytest.mark.parametrize(
    "limit",
    [
        {"resource": "vms", "amount": -1},
        {"resource": "patience", "amount": 1},
        {"resource": "vms", "amount": 1, "cluster": "elsewhere"},
        {"resource": "vms", "amount": 1, "storage_domain": "disks"},
        {"resource": "storage_bytes", "amount": 1, "cluster": "lab"},
    ],
)
def test_an_impossible_limit_is_refused(root, cluster, limit):
    make_storage(name="disks", data_center=cluster.data_center)
    make_cluster(name="elsewhere")
    answer = root("post", "/quotas", {"name": "team", "data_center": cluster.data_center.name, "limits": [limit]})
    assert answer.status_code == 422 and not Quota.objects.exists()


def test_holders_come_and_go(root, cluster):
    eve = make_user("eve")
    quota = Quota.objects.create(name="team", data_center=cluster.data_center)
    path = f"/quotas/{quota.pk}/holders"
    added = root("post", path, {"user": "EVE"})
    assert added.status_code == 201 and added.json()["user"]["username"] == "eve"
    assert root("post", path, {"user": "nobody"}).status_code == 422
    assert root("post", path, {"group": "", "user": ""}).status_code == 422
    assert [row["id"] for row in root("get", path).json()] == [added.json()["id"]]
    assert root("delete", f"{path}/{added.json()['id']}").status_code == 204
    assert not eve.quotas_held.exists()


def test_who_holds_a_quota_sees_it_and_changes_nothing(client, cluster):
    eve = make_user("eve")
    quota = Quota.objects.create(name="team", data_center=cluster.data_center)
    quota.holders.create(user=eve)
    call = Caller(client, eve)
    assert call("get", f"/quotas/{quota.pk}").status_code == 200
    assert call("patch", f"/quotas/{quota.pk}", {"limits": []}).status_code == 403
    assert call("post", f"/quotas/{quota.pk}/holders", {"user": "eve"}).status_code == 403
    assert call("get", f"/quotas/{quota.pk}/holders").status_code == 403
    grant("DataCenterAdmin", cluster.data_center, user=eve)
    assert call("get", f"/quotas/{quota.pk}/holders").status_code == 200
