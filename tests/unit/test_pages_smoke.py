"""Every page of every kind of object draws for an administrator, with and without objects."""

import pytest
from django.urls import reverse

from tests.build import attach, make_disk, make_host, make_network, make_nic, make_storage, make_template, make_user, make_vm

pytestmark = pytest.mark.django_db

LISTS = [
    "portal:dashboard", "vms:list", "vms:templates", "vms:new", "hosts:list", "hosts:new", "hosts:clusters", "hosts:new-cluster", "hosts:data-centers",
    "hosts:new-data-center", "storage:list", "storage:new", "storage:disks", "storage:new-disk", "storage:upload-image", "networks:list", "networks:new",
    "jobs:list", "jobs:tray", "events:list", "accounts:me", "accounts:users", "accounts:new-user", "accounts:groups", "accounts:new-group",
    "accounts:roles", "accounts:providers", "accounts:factors", "accounts:set-up-app", "accounts:sessions", "accounts:tokens", "accounts:new-service-account",
    "accounts:new-provider", "api-reference", "portal:search",
]  # fmt: skip


@pytest.fixture
def admin(client):
    user = make_user(role="SuperUser")
    client.force_login(user)
    return user


@pytest.mark.parametrize("name", LISTS)
def test_page_draws_without_any_object(client, admin, name):
    assert client.get(reverse(name)).status_code == 200


def test_pages_of_every_object_draw(client, admin):
    template = make_template()
    host = make_host()
    network = make_network(cluster=host.cluster)
    vm = make_vm(host=host, template=template, owner=admin, tags=["web"], next_run={"memory_mib": 512})
    disk = make_disk(domain=make_storage(data_center=host.cluster.data_center))
    attach(vm, disk)
    make_nic(vm, network)
    for name in LISTS:
        assert client.get(reverse(name)).status_code == 200, name
    for shown in (vm, host, template, network, disk, disk.domain, host.cluster, host.cluster.data_center):
        assert client.get(shown.get_absolute_url()).status_code == 200, shown
    for tab in ("overview", "disks", "networks", "settings", "permissions", "events"):
        assert client.get(vm.get_absolute_url() + f"?tab={tab}").status_code == 200, tab
    for tab in ("overview", "vms", "storage", "power", "capabilities", "permissions", "events"):
        assert client.get(host.get_absolute_url() + f"?tab={tab}").status_code == 200, tab
    for name in ("vms:edit", "vms:remove", "vms:run-once", "vms:make-template", "vms:console"):
        assert client.get(reverse(name, args=[vm.pk])).status_code == 200, name
    for name in ("hosts:edit", "hosts:enrol"):
        assert client.get(reverse(name, args=[host.pk])).status_code == 200, name
    assert client.get(reverse("accounts:object-grants", args=["vm", vm.pk])).status_code == 200
    for person in (reverse("accounts:user", args=[admin.pk]),):
        assert client.get(person).status_code == 200
