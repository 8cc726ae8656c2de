"""Instance types: their pages are for those who manage templates, their list for everybody."""

import pytest

from events.models import Event
from tests.build import make_user
from vms.models import InstanceType

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
