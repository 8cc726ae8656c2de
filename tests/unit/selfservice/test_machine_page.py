"""A machine's own page: the slim one for its user, its size, and sharing it."""

import pytest

from accounts.models import Grant, Group
from accounts.permissions import grant
from jobs.models import Job
from tests.build import make_host, make_user, make_vm
from vms.models import InstanceType

pytestmark = pytest.mark.django_db


@pytest.fixture
def vm():
    return make_vm(host=make_host(capabilities={"features": ["display"]}), name="web", memory_mib=512)


@pytest.fixture
def anna(client, vm):
    user = make_user("anna")
    grant("UserVmManager", vm, user=user)
    vm.owner = user
    vm.save()
    client.force_login(user)
    make_user(role="SuperUser")
    return user


def test_the_user_has_the_slim_page_and_the_full_one_behind_it(client, anna, vm):
    page = client.get(vm.get_absolute_url())
    assert page.status_code == 200 and "selfservice/machine.html" in [template.name for template in page.templates]
    assert "vms/detail.html" in [template.name for template in client.get(vm.get_absolute_url() + "?tab=overview").templates]
    client.force_login(make_user(role="SuperUser"))
    assert "vms/detail.html" in [template.name for template in client.get(vm.get_absolute_url()).templates]


def test_a_colleague_with_less_sees_less(client, anna, vm):
    grant("UserRole", vm, user=(bob := make_user("bob")))
    client.force_login(bob)
    page = client.get(vm.get_absolute_url()).content.decode()
    assert "Shared with" not in page and "/resize/" not in page
    assert client.get(f"/my/vms/{vm.pk}/resize/").status_code == 403
    assert client.post(f"/my/vms/{vm.pk}/share/", {"who": "bob", "role": "UserVmManager"}).status_code == 403
    client.force_login(make_user())
    for path in (vm.get_absolute_url(), f"/my/vms/{vm.pk}/resize/"):
        assert client.get(path).status_code == 404


def test_a_new_size_by_name_and_by_numbers(client, anna, vm):
    url = f"/my/vms/{vm.pk}/resize/"
    size = InstanceType.objects.get(name="Medium")
    assert client.post(url, {"size": size.pk}).status_code == 302
    vm.refresh_from_db()
    assert (vm.vcpus, vm.memory_mib) == (size.vcpus, size.memory_mib)
    Job.objects.all().delete()
    assert client.post(url, {"size": "", "vcpus": "3", "memory_mib": "1G"}).status_code == 302
    vm.refresh_from_db()
    assert (vm.vcpus, vm.memory_mib) == (3, 1024)
    for body in ({}, {"size": "x"}, {"vcpus": "3"}, {"vcpus": "0", "memory_mib": "1G"}, {"vcpus": "1", "memory_mib": "1M"}):
        assert client.post(url, body).status_code == 422, body


def test_a_running_machine_gets_its_size_at_the_next_run(client, anna, vm):
    type(vm).objects.update(status="up")
    client.post(f"/my/vms/{vm.pk}/resize/", {"size": "", "vcpus": "2", "memory_mib": "2G"})
    vm.refresh_from_db()
    assert (vm.memory_mib, vm.next_run) == (512, {"vcpus": 2, "memory_mib": 2048})
    assert "Waits for the next run" in client.get(vm.get_absolute_url()).content.decode()


def test_sharing_with_a_colleague_and_taking_it_back(client, anna, vm):
    bob = make_user("bob", full_name="<b>Bob</b>")
    assert client.post(f"/my/vms/{vm.pk}/share/", {"who": "BOB", "role": "UserRole"}).status_code == 302
    shared = Grant.objects.get(user=bob)
    assert (shared.role.name, shared.object_id) == ("UserRole", vm.pk)
    page = client.get(vm.get_absolute_url()).content.decode()
    assert "&lt;b&gt;Bob" in page and "<b>Bob" not in page
    assert client.post(f"/my/vms/{vm.pk}/unshare/", {"grant": shared.pk}).status_code == 302
    assert not Grant.objects.filter(user=bob).exists()


def test_sharing_with_a_group_that_one_is_in_and_no_other(client, anna, vm):
    mine, theirs = Group.objects.create(name="web team"), Group.objects.create(name="managers")
    mine.members.add(anna)
    client.post(f"/my/vms/{vm.pk}/share/", {"who": "Web Team", "role": "UserVmRunTimeManager"})
    answer = client.post(f"/my/vms/{vm.pk}/share/", {"who": "managers", "role": "UserRole"}, follow=True)
    assert "you are in no group of this name" in answer.content.decode()
    assert Grant.objects.filter(group=mine).exists() and not Grant.objects.filter(group=theirs).exists()


@pytest.mark.parametrize(
    "body",
    [
        {"who": "", "role": "UserRole"},
        {"who": "nobody-here", "role": "UserRole"},
        {"who": "anna", "role": "UserRole"},
        {"who": "bob", "role": "SuperUser"},
        {"who": "bob", "role": "VmCreator"},
        {"who": "bob"},
    ],
)
def test_a_share_that_makes_no_sense_is_refused(client, anna, vm, body):
    make_user("bob")
    client.post(f"/my/vms/{vm.pk}/share/", body)
    assert Grant.objects.count() == 2


def test_a_share_gives_no_more_than_one_holds(client, vm):
    carol = make_user("carol", role="UserRole", on=vm)
    grant("UserVmRunTimeManager", vm, user=carol)
    client.force_login(carol)
    make_user("bob")
    for role in ("UserRole", "UserVmManager"):
        assert client.post(f"/my/vms/{vm.pk}/share/", {"who": "bob", "role": role}).status_code == 403
    assert not Grant.objects.filter(user__username="bob").exists()


def test_grants_of_other_objects_and_the_owners_cannot_be_taken_back_here(client, anna, vm):
    other = make_vm(name="other")
    foreign = grant("UserRole", other, user=make_user())
    high = grant("SuperUser", user=make_user())
    for key in (foreign.pk, high.pk, "nonsense", ""):
        assert client.post(f"/my/vms/{vm.pk}/unshare/", {"grant": key}).status_code == 404, key
    manager = make_user("manager")
    grant("UserVmManager", vm, user=manager)
    client.force_login(manager)
    client.post(f"/my/vms/{vm.pk}/unshare/", {"grant": Grant.objects.get(user=anna).pk})
    client.post(f"/my/vms/{vm.pk}/unshare/", {"grant": Grant.objects.get(user=manager).pk})
    assert Grant.objects.count() == 5
