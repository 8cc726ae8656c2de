"""The portal: who sees it, what stands on it, and that nobody makes a machine of what is not theirs to use."""

import pytest
from django.urls import reverse

from accounts.permissions import ADMINISTRATIVE, PREDEFINED_ROLES, grant, is_administrator
from jobs.models import Job
from tests.build import make_cluster, make_disk, make_host, make_network, make_storage, make_template, make_user, make_vm
from vms.models import VM, InstanceType

pytestmark = pytest.mark.django_db
NEW = "/my/new/"


@pytest.fixture
def cluster():
    made = make_cluster()
    make_host(cluster=made, capabilities={"features": ["display"]})
    make_network(cluster=made)
    return made


@pytest.fixture
def template(cluster):
    return make_template(
        data_center=cluster.data_center, memory_mib=256, disks=[make_disk(domain=make_storage(data_center=cluster.data_center))]
    )


@pytest.fixture
def anna(client, cluster, template):
    user = make_user("anna", role="VmCreator", on=cluster.data_center)
    grant("TemplateUser", template, user=user)
    client.force_login(user)
    return user


@pytest.mark.parametrize("role", sorted(PREDEFINED_ROLES))
def test_who_administers_anything_has_the_dashboard_and_everybody_else_the_portal(client, role):
    user = make_user(role=role)
    client.force_login(user)
    page = client.get("/").content.decode()
    administers = bool(ADMINISTRATIVE & PREDEFINED_ROLES[role][1])
    assert is_administrator(user) is administers
    assert ("<h1>Dashboard</h1>" in page, "<h1>My machines</h1>" in page) == (administers, not administers)


def test_the_page_without_machines_says_how_to_get_one(client, anna):
    assert "Make my first machine" in client.get("/").content.decode()
    client.force_login(make_user())
    assert "ask your administrator for the role VmCreator" in client.get("/").content.decode()
    client.force_login(make_user(role="VmCreator"))
    page = client.get("/").content.decode()
    assert "no template has been given to you" in page and "Make my first machine" not in page


def test_a_card_has_the_state_the_address_and_what_can_be_done_and_nobody_elses(client, anna, cluster):
    host = cluster.hosts.get()
    vm = make_vm(host=host, name="mine", status="up", guest_addresses=["192.0.2.77"], guest_os="<b>hostile</b>")
    grant("UserVmManager", vm, user=anna)
    make_vm(host=host, name="another's", status="up")
    page = client.get("/").content.decode()
    assert 'data-status="up"' in page and "192.0.2.77" in page and "another" not in page
    assert "&lt;b&gt;hostile" in page and "<b>hostile" not in page
    assert reverse("vms:console", args=[vm.pk]) in page and reverse("vms:thumbnail", args=[vm.pk]) in page
    assert reverse("vms:action", args=[vm.pk, "shutdown"]) in page


def test_a_role_on_the_whole_system_hides_no_right_on_the_own_machine(client, cluster):
    user = make_user(role="VmCreator")
    vm = make_vm(host=cluster.hosts.get(), status="down")
    grant("UserVmManager", vm, user=user)
    client.force_login(user)
    assert reverse("vms:action", args=[vm.pk, "start"]) in client.get("/").content.decode()


def test_a_machine_that_is_off_offers_run_and_says_why_it_has_no_console(client, anna, cluster):
    vm = make_vm(host=cluster.hosts.get(), name="off")
    grant("UserRole", vm, user=anna)
    page = client.get("/").content.decode()
    assert "off is not running: there is nothing to see." in page
    assert reverse("vms:action", args=[vm.pk, "start"]) in page and reverse("vms:action", args=[vm.pk, "shutdown"]) not in page


def test_search_finds_and_says_when_nothing_fits(client, anna, cluster):
    for name in ("alpha", "beta"):
        grant("UserRole", make_vm(cluster=cluster, name=name), user=anna)
    assert "beta" not in client.get("/?q=alpha").content.decode()
    assert "No machine fits" in client.get("/?q=zzz").content.decode()


def test_a_machine_of_a_chosen_size_is_made_and_runs(client, anna, template):
    size = InstanceType.objects.get(name="Tiny")
    answer = client.post(NEW, {"template": template.pk, "name": "web", "size": size.pk})
    vm = VM.objects.get(name="web")
    assert answer.url == vm.get_absolute_url()
    assert (vm.owner, vm.vcpus, vm.memory_mib) == (anna, size.vcpus, size.memory_mib)
    assert Job.objects.get().params == {"start": True}


def test_without_a_size_the_template_says_it(client, anna, template):
    client.post(NEW, {"template": template.pk, "name": "web", "size": ""})
    assert VM.objects.get(name="web").memory_mib == 256


def test_place_and_network_are_asked_only_where_there_is_a_choice(client, anna, cluster):
    page = client.get(NEW).content.decode()
    assert 'name="cluster"' not in page and 'name="network"' not in page
    make_network(cluster=make_cluster(data_center=cluster.data_center))
    page = client.get(NEW).content.decode()
    assert 'name="cluster"' in page and 'name="network"' in page


def test_ids_of_others_are_refused_and_nothing_is_made(client, anna, template, cluster):
    foreign = make_template(data_center=cluster.data_center)
    elsewhere = make_cluster()
    near = make_cluster(data_center=cluster.data_center)
    make_network(cluster=near)
    bodies = (
        {"template": foreign.pk},
        {"template": "not-an-id"},
        {"template": ""},
        {"template": template.pk, "cluster": elsewhere.pk},
        {"template": template.pk, "network": make_network(cluster=elsewhere).pk},
        {"template": template.pk, "cluster": cluster.pk, "network": make_network(cluster=near).pk},
        {"template": template.pk, "size": "3f0e9b3e-0000-4000-8000-000000000000"},
    )
    for body in bodies:
        assert client.post(NEW, {"name": "web", "size": ""} | body).status_code == 422, body
    assert not VM.objects.exists() and not Job.objects.exists()


def test_who_may_create_nothing_has_no_form(client, template):
    client.force_login(make_user(role="UserRole"))
    assert client.get(NEW).status_code == 403
    assert client.post(NEW, {"template": template.pk, "name": "web"}).status_code == 403


def test_without_a_template_the_form_teaches_instead(client, cluster):
    client.force_login(make_user(role="VmCreator", on=cluster))
    assert "Nothing to start from yet" in client.get(NEW).content.decode()
