"""Looking at the portal as another user: read-only, marked, recorded, and never a way to see more than one holds."""

import pytest
from asgiref.sync import sync_to_async

from accounts import looking
from accounts.models import Group, Role, RolePermission, User
from accounts.permissions import ALL_PERMISSIONS, grant
from events.models import Event
from events.notify.services import save_choice
from jobs.models import Job
from tests.build import make_host, make_user, make_vm
from tests.sockets import Browser

pytestmark = pytest.mark.django_db


def make_role(name, *permissions):
    role = Role.objects.create(name=name)
    RolePermission.objects.bulk_create([RolePermission(role=role, permission=each) for each in permissions])
    return role


@pytest.fixture
def vm():
    return make_vm(host=make_host(capabilities={"features": ["display"]}), name="annas", status="up")


@pytest.fixture
def anna(vm):
    user = make_user("anna", full_name="<i>Anna</i>")
    grant("UserVmManager", vm, user=user)
    return user


@pytest.fixture
def admin(client):
    user = make_user("admin", role="SuperUser")
    client.force_login(user)
    return user


@pytest.fixture
def helpdesk(client):
    """Manages users and runs VMs, and holds nothing else."""
    make_role("Helpdesk", "user.manage", "user.view", "vm.view", "vm.start", "vm.stop", "vm.reboot", "vm.pause", "vm.console")
    user = make_user("helpdesk", role="Helpdesk")
    client.force_login(user)
    return user


def look(client, user):
    return client.post(f"/users/{user.pk}/look/", follow=True)


def test_the_secret_of_anothers_webhook_stays_theirs(client, admin, anna):
    secret = save_choice(anna, {}, "https://hooks.example.org/token").webhook_secret
    look(client, anna)
    answer = client.get("/me/notifications/settings/")
    assert answer.status_code == 403 and secret not in answer.content.decode() and "hooks.example.org" not in answer.content.decode()


def test_the_portal_is_shown_as_the_other_sees_it_and_marked(client, admin, anna):
    make_vm(name="nobody-elses")
    page = look(client, anna).content.decode()
    assert "You look at the portal as" in page and "&lt;i&gt;Anna" in page and "<i>Anna" not in page
    assert "annas" in page and "nobody-elses" not in page and "<h1>My machines</h1>" in page
    assert "vm-thumbnail" not in page
    client.post("/look/end/")
    page = client.get("/").content.decode()
    assert "You look at the portal" not in page and "<h1>Dashboard</h1>" in page
    events = list(Event.objects.filter(kind__startswith="user.look").order_by("id").values_list("kind", "user__username", "object_name"))
    assert events == [("user.look_started", "admin", "anna"), ("user.look_ended", "admin", "anna")]


def test_nothing_can_be_changed_meanwhile_as_either(client, admin, anna, vm):
    look(client, anna)
    before = User.objects.get(pk=anna.pk).preferences
    posts = [
        f"/vms/{vm.pk}/action/shutdown/", f"/vms/{vm.pk}/edit/", f"/vms/{vm.pk}/remove/", f"/my/vms/{vm.pk}/share/", f"/my/vms/{vm.pk}/prolong/", "/my/new/",
        "/me/preferences/", "/me/password/", "/me/tokens/new/", "/me/keys/new/", "/users/new/", f"/users/{anna.pk}/active/", "/grants/give/", f"/users/{admin.pk}/look/",
    ]  # fmt: skip
    for path in posts:
        assert client.post(path).status_code == 403, path
    for method in ("post", "patch", "delete", "put"):
        assert getattr(client, method)(f"/api/v1/vms/{vm.pk}", "{}", content_type="application/json").status_code == 403
    assert not Job.objects.exists() and User.objects.get(pk=anna.pk).preferences == before
    answer = client.post(f"/vms/{vm.pk}/action/shutdown/", headers={"HX-Request": "true"})
    assert "nothing can be changed" in answer.json()["message"]


def test_no_console_no_screen_and_no_account_page(client, admin, anna, vm):
    look(client, anna)
    for path in ("console/", "console/state/", "thumbnail.png"):
        assert client.get(f"/vms/{vm.pk}/{path}").status_code == 403, path
    assert client.post(f"/vms/{vm.pk}/console/ticket/").status_code == 403
    for path in ("/me/", "/api/v1/vms", f"/users/{anna.pk}/", "/users/", "/roles/"):
        assert client.get(path).status_code == 403, path
    assert client.get(vm.get_absolute_url()).status_code == 200


def test_signing_out_meanwhile_is_the_viewers_own(client, admin, anna):
    look(client, anna)
    client.post("/sign-out/")
    assert Event.objects.get(kind="session.closed").user == admin
    assert client.get("/").status_code == 302


def test_who_may_not_manage_users_looks_as_nobody(client, anna):
    for role in ("ReadOnlyAdmin", "DataCenterAdmin", "UserVmManager", "PowerUserRole"):
        client.force_login(make_user(role=role))
        assert client.post(f"/users/{anna.pk}/look/").status_code == 403, role
        assert looking.SESSION_KEY not in client.session
    client.logout()
    assert client.post(f"/users/{anna.pk}/look/").status_code == 302


@pytest.mark.parametrize("role", ["SuperUser", "ReadOnlyAdmin", "ClusterAdmin", "VmCreator"])
def test_nobody_looks_as_one_who_holds_more(client, helpdesk, role):
    above = make_user(role=role)
    assert "holds permissions that you do not hold" in look(client, above).content.decode()
    assert looking.SESSION_KEY not in client.session


def test_more_on_one_object_or_through_a_group_counts_too(client, helpdesk, vm):
    on_object = make_user(role="UserVmManager", on=vm)
    in_group = make_user()
    team = Group.objects.create(name="team")
    team.members.add(in_group)
    grant("UserVmManager", vm, group=team)
    for user in (on_object, in_group):
        look(client, user)
        assert looking.SESSION_KEY not in client.session
    grant("UserVmManager", vm, user=helpdesk)
    look(client, on_object)
    assert looking.SESSION_KEY in client.session


def test_less_is_fine(client, helpdesk, vm):
    user = make_user(role="UserRole", on=vm)
    assert "You look at the portal as" in look(client, user).content.decode()


def test_oneself_and_who_may_not_sign_in_are_refused(client, admin, anna):
    anna.is_active = False
    anna.save()
    for user in (admin, anna):
        look(client, user)
        assert looking.SESSION_KEY not in client.session


def test_it_ends_when_either_changes(client, helpdesk, vm):
    user = make_user(role="UserRole", on=vm)
    look(client, user)
    grant("SuperUser", user=user)
    assert "You look at the portal" not in client.get("/").content.decode()
    assert Event.objects.filter(kind="user.look_ended", user=helpdesk).exists()
    user.grants.filter(object_type="system").delete()
    look(client, user)
    helpdesk.grants.all().delete()
    assert "You look at the portal" not in client.get("/").content.decode()


def test_it_ends_after_an_hour(client, admin, anna):
    look(client, anna)
    session = client.session
    session[looking.SESSION_KEY] = session[looking.SESSION_KEY] | {"since": "2020-01-01T00:00:00+00:00"}
    session.save()
    assert "<h1>Dashboard</h1>" in client.get("/").content.decode()
    assert looking.SESSION_KEY not in client.session


def test_a_forged_role_name_gives_no_way_in(client, vm):
    """Every permission but user.manage is not enough."""
    make_role("Nearly", *[permission for permission in ALL_PERMISSIONS if permission != "user.manage"])
    client.force_login(make_user(role="Nearly"))
    assert client.post(f"/users/{make_user().pk}/look/").status_code == 403


@pytest.mark.django_db(transaction=True)
async def test_the_socket_follows_and_closes_when_it_ends(client, admin, anna, vm):
    hidden = await sync_to_async(make_vm)()
    browser = await sync_to_async(Browser)(admin)
    await sync_to_async(browser.client.post)(f"/users/{anna.pk}/look/")
    socket = browser.live()
    assert await socket.connect()
    await socket.say(op="subscribe", topics=[f"vm:{vm.pk}", f"vm:{hidden.pk}"])
    answer = await socket.hear("subscribed")
    assert (answer["topics"], answer["refused"]) == ([f"vm:{vm.pk}"], [f"vm:{hidden.pk}"])
    await sync_to_async(browser.client.post)("/look/end/")
    assert await socket.closed() == 4401


@pytest.mark.django_db(transaction=True)
async def test_a_ticket_from_before_opens_no_console_meanwhile(client, admin, anna, vm):
    browser = await sync_to_async(Browser)(admin)
    ticket = await sync_to_async(browser.ticket)(vm)
    await sync_to_async(browser.client.post)(f"/users/{anna.pk}/look/")
    console = browser.socket(vm)
    assert await console.connect()
    await console.say(ticket=ticket)
    assert await console.closed() == 4401
