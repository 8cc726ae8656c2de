"""Migration policies are data: predefined ones stay, a copy is changed, and a cluster follows what it has."""

import pytest

from hosts.migration_policies import policies
from hosts.migration_policies.models import MigrationPolicy
from hypervisor.migration import MigrationOptions
from tests.build import make_cluster, make_user

pytestmark = pytest.mark.django_db

BODY = {"name": "Ours", "bandwidth_mib": 100, "downtime_ms": 0, "post_copy": "on", "post_copy_after_s": 120}


@pytest.fixture
def cluster(client):
    client.force_login(make_user("admin", role="SuperUser"))
    return make_cluster()


def test_the_predefined_are_there_as_they_are_written(cluster):
    assert {policy.name: policy.options for policy in MigrationPolicy.objects.all()} == {
        name: options for name, (_description, options) in policies.PREDEFINED.items()
    }
    assert policies.options_of(cluster) == MigrationOptions()


def test_a_copy_is_made_changed_followed_and_removed(client, cluster):
    careful = MigrationPolicy.objects.get(name="Careful")
    assert 'value="Careful copy"' in client.get(f"/migration-policies/{careful.pk}/copy/").content.decode()
    assert client.post(f"/migration-policies/{careful.pk}/copy/", BODY).status_code == 302
    ours = MigrationPolicy.objects.get(name="Ours")
    assert ours.options == MigrationOptions(bandwidth_mib=100, auto_converge=False, post_copy=True, post_copy_after_s=120)
    assert client.post(f"/migration-policies/{careful.pk}/", BODY | {"name": "Hijacked"}).status_code == 422
    assert client.post(f"/migration-policies/{ours.pk}/", BODY | {"bandwidth_mib": -1}).status_code == 422
    assert client.post(f"/migration-policies/{ours.pk}/", BODY | {"post_copy_after_s": ""}).status_code == 302
    ours.refresh_from_db()
    assert ours.post_copy_after_s == 60
    edit = f"/clusters/{cluster.pk}/edit/"
    fields = {"name": "Default", "cpu_model": "qemu64", "migrations_per_host": 2, "migrations_at_once": 8}
    fields |= {"balancing": "off", "moves_per_hour": 6, "minimal_gain": 10}
    assert client.post(edit, fields | {"migration_policy": ours.pk}).status_code == 302
    cluster.refresh_from_db()
    assert policies.options_of(cluster).bandwidth_mib == 100
    page = client.post(f"/migration-policies/{ours.pk}/remove/", follow=True).content.decode()
    assert f"Ours is the policy of {cluster.name}" in page
    client.post(edit, fields)
    client.post(f"/migration-policies/{ours.pk}/remove/")
    assert not MigrationPolicy.objects.filter(name="Ours").exists()


def test_who_reads_sees_them_and_changes_none(client, cluster):
    client.force_login(make_user("reader", role="ReadOnlyAdmin"))
    careful = MigrationPolicy.objects.get(name="Careful")
    page = client.get("/migration-policies/")
    assert page.status_code == 200 and "Copy" not in page.content.decode()
    for url in (f"/migration-policies/{careful.pk}/", f"/migration-policies/{careful.pk}/copy/"):
        assert client.get(url).status_code == 403
