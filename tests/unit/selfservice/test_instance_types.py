"""Instance types: their pages are for those who manage templates, their list for everybody."""

import pytest

from events.models import Event
from tests.build import make_host, make_storage, make_user
from vms.models import VM, InstanceType

pytestmark = pytest.mark.django_db
BODY = {"name": "Huge", "vcpus": "16", "memory_mib": "64G", "description": "much"}


def test_the_predefined_ones_are_there():
    assert list(InstanceType.objects.values_list("name", flat=True)) == ["Tiny", "Small", "Medium", "Large"]


def test_an_administrator_makes_changes_and_removes_one(client):
    client.force_login(make_user(role="TemplateAdmin"))
    assert client.post("/instance-types/new/", BODY).status_code == 302
    made = InstanceType.objects.get(name="Huge")
    assert (made.vcpus, made.memory_mib) == (16, 65536)
    assert "64 GiB" in client.get("/instance-types/").content.decode()
    assert client.post(f"/instance-types/{made.pk}/", BODY | {"vcpus": "8"}).status_code == 302
    assert client.post(f"/instance-types/{made.pk}/remove/").status_code == 302
    assert not InstanceType.objects.filter(name="Huge").exists()
    assert Event.objects.filter(kind__startswith="instance_type.").count() == 3


@pytest.mark.parametrize(
    ("change", "at"), [({"name": "TINY"}, "exists already"), ({"memory_mib": "1M"}, "at least"), ({"vcpus": "0"}, "greater than")]
)
def test_bad_values_are_refused_at_their_field(client, change, at):
    client.force_login(make_user(role="SuperUser"))
    answer = client.post("/instance-types/new/", BODY | change)
    assert answer.status_code == 422 and at in answer.content.decode()
    assert InstanceType.objects.count() == 4


def test_a_user_reads_them_and_changes_none(client):
    client.force_login(make_user(role="PowerUserRole"))
    size = InstanceType.objects.first()
    assert client.post(f"/instance-types/{size.pk}/", BODY).status_code == 403
    assert client.post(f"/instance-types/{size.pk}/remove/").status_code == 403
    answer = client.get("/api/v1/instance-types").json()
    assert answer["count"] == 4 and answer["items"][0]["name"] == "Tiny"
    client.logout()
    assert client.get("/api/v1/instance-types").status_code == 401


# -- as an administrator's form of a new VM offers them


@pytest.fixture
def storage(client):
    client.force_login(make_user("root", role="SuperUser"))
    cluster = make_host().cluster
    return make_storage(data_center=cluster.data_center)


def new_vm(client, storage, **body):
    return client.post("/vms/new/", {"name": "db", "cluster": storage.data_center.clusters.get().pk, "disk_bytes": "1G", "firmware": "bios"} | body)


def test_a_chosen_size_says_memory_and_cpus(client, storage):
    size = InstanceType.objects.get(name="Medium")
    assert new_vm(client, storage, size=size.pk, memory_mib="nonsense", vcpus="").status_code == 302
    made = VM.objects.get(name="db")
    assert (made.memory_mib, made.vcpus) == (size.memory_mib, size.vcpus)


def test_without_one_the_numbers_are_asked_for(client, storage):
    answer = new_vm(client, storage, size="", memory_mib="", vcpus="2")
    assert answer.status_code == 422 and "required" in answer.content.decode()
    assert new_vm(client, storage, size="", memory_mib="256M", vcpus="2").status_code == 302
    assert (VM.objects.get().memory_mib, VM.objects.get().vcpus) == (256, 2)


def test_a_size_that_is_gone_is_told_at_its_field(client, storage):
    assert new_vm(client, storage, size="00000000-0000-4000-8000-000000000001", memory_mib="1G", vcpus="1").status_code == 422


def test_where_there_are_none_the_form_has_none(client, storage):
    InstanceType.objects.all().delete()
    assert 'name="size"' not in client.get("/vms/new/").content.decode()
    assert new_vm(client, storage, memory_mib="256M", vcpus="1").status_code == 302
