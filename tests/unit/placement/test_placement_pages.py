"""The pages of scheduling: what they show, to whom, and what they refuse."""

import pytest

from hosts.models import HostStatus, HostTransport, SchedulingPolicy
from tests.build import make_cluster, make_host, make_user, make_vm
from vms.models import VmStatus
from vms.placement.models import AffinityGroup
from vms.placement.services import choose

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client):
    user = make_user("admin", role="SuperUser")
    client.force_login(user)
    return user


@pytest.fixture
def cluster():
    return make_cluster(name="Default")


def text(answer) -> str:
    return answer.content.decode()


def test_the_scheduling_page_shows_capacity_and_a_plan_that_moves_nothing(client, admin, cluster):
    full, _empty = (make_host(name=name, cluster=cluster, transport=HostTransport.TLS) for name in ("full", "empty"))
    make_host(name="gone", cluster=cluster, status=HostStatus.DOWN)
    for number in range(4):
        make_vm(name=f"vm{number}", host=full, memory_mib=1024, status=VmStatus.UP)
    page = text(client.get(f"/clusters/{cluster.pk}/scheduling/"))
    assert "2 moves would make that" in page and "moved by hand only" in page and "it is down" in page
    assert "Nothing was decided yet." in page
    assert {vm.host for vm in cluster.vms.all()} == {full}


def test_a_decision_is_explained(client, admin, cluster):
    make_host(name="node1", cluster=cluster)
    make_host(name="node2", cluster=cluster, status=HostStatus.MAINTENANCE)
    vm = make_vm(name="<b>web</b>", cluster=cluster, host=None, status=VmStatus.DOWN, memory_mib=128)
    choose(vm)
    page = text(client.get(f"/vms/{vm.pk}/placement/"))
    assert "<strong>chosen</strong>" in page and "it is in maintenance" in page
    assert "<b>web</b>" not in page and "&lt;b&gt;web&lt;/b&gt;" in page
    assert "&lt;b&gt;web&lt;/b&gt;" in text(client.get(f"/clusters/{cluster.pk}/scheduling/"))


def test_who_sees_one_vm_does_not_learn_of_hosts(client, cluster):
    host = make_host(name="node1", cluster=cluster)
    vm = make_vm(name="web", host=host, status=VmStatus.UP)
    client.force_login(make_user("eve", role="UserRole", on=vm))
    assert client.get(f"/vms/{vm.pk}/placement/").status_code == 403
    assert client.get(f"/clusters/{cluster.pk}/scheduling/").status_code == 404


def test_an_affinity_group_is_made_changed_and_removed(client, admin, cluster):
    first, second = make_vm(name="a", cluster=cluster), make_vm(name="b", cluster=cluster)
    stranger = make_vm(name="elsewhere")
    url = f"/clusters/{cluster.pk}/affinity-groups/new/"
    body = {"name": "pair", "positive": "apart", "hard": "hard", "vms": [first.pk, second.pk]}
    assert client.post(url, body | {"vms": [stranger.pk]}).status_code == 422, "of another cluster"
    assert client.post(url, body).status_code == 302
    group = AffinityGroup.objects.get()
    assert (group.positive, group.hard, set(group.vms.all())) == (False, True, {first, second})
    assert client.post(url, body).status_code == 422 and AffinityGroup.objects.count() == 1
    edit = f"/affinity-groups/{group.pk}/"
    assert "checked" in text(client.get(edit))
    client.post(edit, body | {"positive": "together", "hard": "soft", "vms": [first.pk]})
    group.refresh_from_db()
    assert (group.positive, group.hard, set(group.vms.all())) == (True, False, {first})
    client.post(f"{edit}remove/")
    assert not AffinityGroup.objects.exists()


def test_a_policy_is_copied_changed_given_to_a_cluster_and_removed(client, admin, cluster):
    even = SchedulingPolicy.objects.get(name="Even")
    assert 'value="Even copy"' in text(client.get(f"/policies/new/?from={even.pk}"))
    body = {"name": "Ours", "memory_overcommit": 150, "cpu_overcommit": 4, "spare_hosts": 1}
    body |= {f"weight_{key}": 0 for key in ("even", "packed", "guests", "priority", "ha_spread", "affinity", "stay")} | {"weight_packed": 3}
    assert client.post("/policies/new/", body).status_code == 302
    ours = SchedulingPolicy.objects.get(name="Ours")
    assert ours.weights == {"packed": 3} and ours.memory_overcommit == 150
    assert client.post(f"/policies/{even.pk}/", body | {"name": "Hijacked"}).status_code == 422
    assert client.post("/policies/new/", body | {"memory_overcommit": 50, "name": "x"}).status_code == 422
    edit = f"/clusters/{cluster.pk}/edit/"
    fields = {"name": "Default", "cpu_model": "qemu64", "description": "", "migrations_per_host": 2, "migrations_at_once": 8}
    fields |= {"balancing": "off", "moves_per_hour": 6, "minimal_gain": 10}
    answer = client.post(edit, fields | {"policy": ours.pk})
    assert answer.status_code == 302
    cluster.refresh_from_db()
    assert cluster.policy == ours
    client.post(f"/policies/{ours.pk}/remove/")
    assert SchedulingPolicy.objects.filter(name="Ours").exists(), "a cluster has it"
    client.post(edit, fields | {"policy": ""})
    client.post(f"/policies/{ours.pk}/remove/")
    assert not SchedulingPolicy.objects.filter(name="Ours").exists()


def test_only_who_edits_clusters_changes_policies(client, cluster):
    client.force_login(make_user("reader", role="ReadOnlyAdmin"))
    even = SchedulingPolicy.objects.get(name="Even")
    assert client.get("/policies/").status_code == 200 and "Copy" not in text(client.get("/policies/"))
    for url in ("/policies/new/", f"/policies/{even.pk}/", f"/clusters/{cluster.pk}/edit/", f"/clusters/{cluster.pk}/affinity-groups/new/"):
        assert client.get(url).status_code == 403, url
