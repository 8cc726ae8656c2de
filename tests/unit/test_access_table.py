"""Every URL, API operation and WebSocket lets in whom the access table says, and nobody else."""

import os

import pytest

from hosts.models import Host
from jobs.models import Job
from tests import access
from tests.build import make_user
from vms.models import VM


@pytest.mark.django_db
def test_everything_lets_in_whom_the_access_table_says(settings, caplog):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    caplog.set_level("CRITICAL")
    rows = access.build()
    if os.environ.get("VIREO_WRITE_ACCESS"):
        access.write(rows)
    wanted = access.TABLE.read_text().splitlines()[1:]
    missing, gone = sorted(set(rows) - set(wanted)), sorted(set(wanted) - set(rows))
    assert not missing and not gone, "the product differs from tests/access/table.tsv:\n" + "\n".join([f"  now:   {row}" for row in missing] + [f"  table: {row}" for row in gone])


def test_no_row_lets_a_stranger_change_anything():
    """Beside the table's own review: nobody without a grant changes an object."""
    # One's own things; and where the body names the object, the service checks it: see the test below.
    own = ("/me/", "/sign-", "/look/end/", "/search/", "/jobs/tray/", "/grants/give/")
    named_in_body = ("/api/v1/vms", "/api/v1/hosts", "/api/v1/templates", "/api/v1/roles", "/api/v1/grants", "/api/v1/pools", "/api/v1/quotas", "/api/v1/images", "/api/", "/api/v1/openapi.json")
    for row in access.TABLE.read_text().splitlines()[1:]:
        what, method, who = row.split("\t")
        if method in ("POST", "PATCH", "DELETE") and who in (access.SIGNED_OUT, "signed in"):
            assert what.startswith(own) or what in named_in_body, row


@pytest.mark.django_db
def test_who_holds_no_grant_makes_nothing_by_naming_objects_in_a_body(client):
    world = access.World()
    client.force_login(make_user())
    bodies = {
        "/api/v1/vms": {"name": "mine", "cluster": str(world.host.cluster.pk), "template": str(world.template.pk)},
        "/api/v1/hosts": {"name": "mine", "cluster": str(world.host.cluster.pk), "address": "192.0.2.200"},
        "/api/v1/templates": {"name": "mine", "vm": str(world.vm.pk)},
        "/api/v1/roles": {"name": "mine", "permissions": ["vm.view"]},
        "/api/v1/pools": {"name": "mine", "cluster": str(world.host.cluster.pk), "template": str(world.template.pk)},
        "/api/v1/quotas": {"name": "mine", "data_center": str(world.host.cluster.data_center.pk)},
        "/api/v1/images": {"url": "https://example.org/x.iso", "domain": world.domain.name, "name": "mine"},
        "/api/v1/grants": {"role": "UserRole", "user": "somebody", "object_type": "vm", "object_id": str(world.vm.pk)},
    }
    for path, body in bodies.items():
        assert client.post(path, body, content_type="application/json").status_code in (403, 404, 422), path
    given = {"role": str(world.grant.role.pk), "user": world.person.username, "object_type": "vm", "object_id": str(world.vm.pk)}
    client.post("/grants/give/", given)  # the page says that there is no such object, for this user does not see it
    assert world.person.grants.count() == 1
    assert not VM.objects.filter(name="mine").exists()
    assert not Host.objects.filter(name="mine").exists()
    assert not Job.objects.exclude(pk=world.job.pk).exists()
