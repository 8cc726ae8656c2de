"""What leaves an entry: who, as whom, what, on what, from where, by which way, with what before and after."""

import json

import pytest
from django.test import Client

from accounts import services, tokens
from accounts.models import Group, Role
from accounts.permissions import grant
from audit import chain, log
from audit.models import Channel, Entry, Outcome
from hosts import services as host_services
from jobs import engine, runner
from jobs.errors import StepFailed
from jobs.kinds import StepDef, register
from tests.build import PASSWORD, make_host, make_template, make_user, make_vm
from vms import services as vm_services

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "198.51.100.7"


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


@pytest.fixture
def browser(admin):
    client = Client(REMOTE_ADDR=ADDRESS)
    client.force_login(admin)
    return client


@pytest.fixture
def vm():
    return make_vm(name="web-01", host=make_host())


def browser_of(user) -> Client:
    client = Client(REMOTE_ADDR=ADDRESS)
    client.force_login(user)
    return client


def last(action: str) -> Entry:
    return Entry.objects.filter(action=action).order_by("-pk")[0]


def everything() -> str:
    return json.dumps(list(Entry.objects.values()), default=str)


# Signing in and out


def test_signing_in_and_out(admin):
    client = Client(REMOTE_ADDR=ADDRESS)
    client.post("/sign-in/", {"username": "admin", "password": PASSWORD})
    opened = last("session.opened")
    assert (opened.actor_name, opened.actor_id, opened.address, opened.channel) == ("admin", str(admin.pk), ADDRESS, Channel.PAGE)
    client.post("/sign-out/")
    assert last("session.closed").actor_name == "admin"


def test_a_refused_sign_in_names_the_account_and_never_what_was_typed(admin):
    client = Client(REMOTE_ADDR=ADDRESS)
    client.post("/sign-in/", {"username": "Admin", "password": "not the password"})
    client.post("/sign-in/", {"username": "hunter2-typed-into-the-wrong-field", "password": "x"})
    known, unknown = Entry.objects.filter(action="session.refused").order_by("pk")
    assert (known.outcome, known.object_name, known.actor_name, known.address) == (Outcome.REFUSED, "admin", "", ADDRESS)
    assert unknown.object_name == ""
    assert "hunter2" not in everything() and "not the password" not in everything() and PASSWORD not in everything()


def test_who_guesses_too_often_is_written_down_once_a_minute(admin):
    client = Client(REMOTE_ADDR="198.51.100.99")
    for _ in range(12):
        client.post("/sign-in/", {"username": "admin", "password": "guess"})
    blocked = Entry.objects.filter(details__status=429)
    assert [(entry.outcome, entry.address) for entry in blocked] == [(Outcome.REFUSED, "198.51.100.99")]


# Refused attempts


def test_a_refused_attempt_on_a_page_says_what_was_tried_on_what(vm):
    eve = make_user("eve", role="ReadOnlyAdmin")
    assert browser_of(eve).post(f"/vms/{vm.pk}/action/start/").status_code == 403
    entry = last("vm.start")
    assert (entry.actor_name, entry.outcome, entry.address, entry.channel) == ("eve", Outcome.REFUSED, ADDRESS, Channel.PAGE)
    assert (entry.object_type, entry.object_id, entry.object_name) == ("vm", str(vm.pk), "web-01")
    assert "no grant gives you vm.start" in entry.message and entry.details["method"] == "POST"


def test_what_somebody_may_not_even_see_is_a_refused_attempt_too(vm):
    client = browser_of(make_user("eve"))
    assert client.post(f"/vms/{vm.pk}/action/start/").status_code == 404
    entry = last("vms.action")
    assert (entry.outcome, entry.object_id, entry.details["status"], entry.details["name"]) == (Outcome.REFUSED, str(vm.pk), 404, "start")
    assert entry.object_name == "web-01"


def test_a_page_that_somebody_mistyped_is_no_attempt(browser):
    browser.get("/vms/00000000-0000-0000-0000-000000000000/")
    browser.get("/no-such-page/")
    assert not Entry.objects.exclude(action="session.opened").exists()


def test_a_refused_one_among_many(vm):
    other = make_vm(name="other", host=vm.host)
    eve = make_user("eve", role="UserRole", on=vm)
    grant("ReadOnlyAdmin", user=eve)
    results = vm_services.bulk(eve, [vm, other], "start")
    assert [bool(result.job) for result in results] == [True, False]
    assert (last("vm.start").outcome, last("vm.start").object_name, last("vm.start").actor_name) == (Outcome.REFUSED, "other", "eve")
    assert last("vm.start.asked").object_name == "web-01"


def test_a_body_that_names_what_is_not_theirs_to_use(vm):
    eve = make_user("eve", role="ClusterAdmin", on=vm.cluster)
    template = make_template()
    _token, text = tokens.create(eve, "mine")
    client = Client(headers={"Authorization": f"Bearer {text}"})
    body = {"name": "mine", "cluster": str(vm.cluster.pk), "template": str(template.pk)}
    assert client.post("/api/v1/vms", body, content_type="application/json").status_code == 422
    entry = Entry.objects.get(outcome=Outcome.FAILED)
    assert (entry.actor_name, entry.details["status"], entry.channel) == ("eve", 422, Channel.API)
    assert "or you may not use it" in entry.message


def test_what_is_not_possible_now(admin, vm):
    vm_services.act(admin, vm, "start")
    _token, text = tokens.create(admin, "mine")
    client = Client(headers={"Authorization": f"Bearer {text}"})
    assert client.post(f"/api/v1/vms/{vm.pk}/start", content_type="application/json").status_code == 409
    entry = Entry.objects.filter(outcome=Outcome.FAILED).first()
    assert entry.object_name == "web-01" and entry.details["status"] == 409 and entry.message != ""


def test_a_form_from_elsewhere_is_a_refused_attempt(admin, vm):
    client = Client(enforce_csrf_checks=True, REMOTE_ADDR=ADDRESS)
    client.force_login(admin)
    assert client.post(f"/vms/{vm.pk}/action/start/").status_code == 403
    assert (last("vms.action").actor_name, last("vms.action").outcome) == ("admin", Outcome.REFUSED)


# The API


def test_the_api_names_the_token_and_never_its_text(admin, vm):
    token, text = tokens.create(admin, "ci robot")
    client = Client(REMOTE_ADDR=ADDRESS, headers={"Authorization": f"Bearer {text}"})
    assert client.patch(f"/api/v1/vms/{vm.pk}", {"description": "by robot"}, content_type="application/json").status_code == 202
    entry = last("vm.edited")
    assert (entry.channel, entry.actor_name, entry.address) == (Channel.API, "admin", ADDRESS)
    assert entry.token == f"ci robot ({str(token.pk)[:8]})"
    assert (entry.before, entry.after) == ({"description": ""}, {"description": "by robot"})
    assert text not in everything() and text[6:] not in everything()


def test_a_token_without_the_permission_is_refused(admin, vm):
    _token, text = tokens.create(admin, "reader", scope="read")
    client = Client(headers={"Authorization": f"Bearer {text}"})
    assert client.post(f"/api/v1/vms/{vm.pk}/start", content_type="application/json").status_code == 403
    entry = last("vm.start")
    assert (entry.outcome, entry.channel, entry.object_name) == (Outcome.REFUSED, Channel.API, "web-01")
    assert entry.token.startswith("reader")


def test_a_token_that_is_not_good_is_refused():
    client = Client(REMOTE_ADDR="198.51.100.55", headers={"Authorization": "Bearer vireo_made_up_and_long_enough_to_be_one"})
    for _ in range(3):
        assert client.get("/api/v1/vms").status_code == 401
    entry = Entry.objects.get(details__status=401)
    assert (entry.outcome, entry.actor_name, entry.address) == (Outcome.REFUSED, "", "198.51.100.55")
    assert "made_up" not in everything()


# Jobs


def test_a_job_is_told_from_the_asking_to_its_end(admin, vm):
    register("test.audit", [StepDef("one", "One", lambda context: None)])
    job = engine.submit("test.audit", user=admin, target=vm, title="A test of web-01")
    assert runner.run(job.pk)
    asked, ended = last("test.audit.asked"), last("test.audit.succeeded")
    assert (ended.channel, ended.actor_name, ended.outcome, ended.object_name) == (Channel.JOB, "admin", Outcome.DONE, "web-01")
    assert asked.job_id == ended.job_id == str(job.pk)


def test_a_job_that_fails(admin, vm):
    def fail(context):
        raise StepFailed("the disk is full")

    register("test.audit", [StepDef("one", "One", fail)])
    runner.run(engine.submit("test.audit", user=admin, target=vm, title="A test").pk)
    entry = last("test.audit.failed")
    assert (entry.outcome, entry.actor_name) == (Outcome.FAILED, "admin") and "the disk is full" in entry.message


def test_what_a_page_asks_for_and_who_cancels_it(browser, admin, vm):
    browser.post(f"/vms/{vm.pk}/action/start/")
    asked = last("vm.start.asked")
    assert (asked.actor_name, asked.address, asked.channel, asked.object_name) == ("admin", ADDRESS, Channel.PAGE, "web-01")
    register("test.audit", [StepDef("one", "One", lambda context: None)])
    job = engine.submit("test.audit", user=admin, target=make_vm(), title="A test")
    eve = make_user("eve", role="ReadOnlyAdmin")
    browser_of(eve).post(f"/jobs/{job.pk}/cancel/")
    assert (last("test.audit.cancel").outcome, last("test.audit.cancel").actor_name) == (Outcome.REFUSED, "eve")
    browser.post(f"/jobs/{job.pk}/cancel/")
    assert (last("test.audit.cancel").outcome, last("test.audit.cancel").address) == (Outcome.DONE, ADDRESS)


# Looking as another


def test_looking_as_another_names_both(browser, admin, vm):
    anna = make_user("anna", role="UserVmManager", on=vm)
    browser.post(f"/users/{anna.pk}/look/")
    assert (last("user.look_started").actor_name, last("user.look_started").object_name) == ("admin", "anna")
    assert browser.post(f"/vms/{vm.pk}/action/start/").status_code == 403
    tried = last("vms.action")
    assert (tried.actor_name, tried.actor_id, tried.as_whom, tried.as_whom_id) == ("admin", str(admin.pk), "anna", str(anna.pk))
    assert tried.outcome == Outcome.REFUSED and "You look at the portal as anna" in tried.message
    browser.post("/look/end/")
    assert (last("user.look_ended").actor_name, last("user.look_ended").as_whom) == ("admin", "")


# Before and after


def test_what_changed_of_a_host(admin):
    host = make_host(name="node1", status="maintenance")
    host_services.edit(admin, host, {"name": "node-one", "description": ""})
    entry = last("host.edited")
    assert (entry.before, entry.after) == ({"name": "node1"}, {"name": "node-one"})


def test_what_waits_for_the_next_run_of_a_vm(admin, vm):
    vm.status = "up"
    vm.save()
    vm_services.edit(admin, vm, {"memory_mib": 2048})
    assert (last("vm.edited").before, last("vm.edited").after) == ({"next_run": {}}, {"next_run": {"memory_mib": 2048}})


def test_who_came_into_a_group_and_left_it(admin):
    anna, ben = make_user("anna"), make_user("ben")
    group = services.save_group(admin, Group(name="ops"), [anna])
    assert last("group.changed").after["members"] == ["anna"]
    services.save_group(admin, group, [ben])
    assert (last("group.changed").before, last("group.changed").after) == ({"members": ["anna"]}, {"members": ["ben"]})


def test_a_grant_given_and_withdrawn(admin, vm):
    anna = make_user("anna")
    made = services.give(admin, Role.objects.get(name="UserRole"), "vm", vm, user=anna)
    assert last("grant.given").after == {"role": "UserRole", "user": "anna", "group": "", "until": None}
    services.withdraw(admin, made)
    assert last("grant.withdrawn").before["role"] == "UserRole" and last("grant.withdrawn").object_name == "web-01"


def test_a_user_who_is_removed_stays_in_the_log(admin):
    anna = make_user("anna", role="UserVmManager")
    log.append("vm.edited", "by anna", user=anna)
    services.delete_user(admin, anna)
    assert (last("vm.edited").actor_name, last("vm.edited").actor_id) == ("anna", str(anna.pk))
    assert chain.verify().count == Entry.objects.count()


def test_no_password_is_ever_in_it(admin, browser):
    anna = make_user("anna")
    services.set_password(admin, anna, "tr0ub4dor and staple")
    browser.post(
        "/me/password/", {"old_password": PASSWORD, "new_password1": "a wholly new secret 1", "new_password2": "a wholly new secret 1"}
    )
    browser.post("/me/tokens/", {"name": "mine", "scope": "all"})
    assert last("user.password_set").object_name == "anna"
    found = everything()
    assert "tr0ub4dor" not in found and "wholly new secret" not in found and PASSWORD not in found and "vireo_" not in found


def test_what_is_only_observed_is_no_entry(vm):
    from events.log import record

    record("host.non_responsive", "Host node1 does not answer", obj=vm.host, severity="error")
    assert not Entry.objects.exists()


def test_a_name_makes_no_line_of_its_own(admin):
    log.append("vm.edited", "first\nsecond\r\n\x1b[2Jthird\u202e\u2028", user=admin, target=("vm", "", "a\nb\x00"))
    entry = Entry.objects.get()
    assert entry.message == "first\\nsecond\\r\\n\\x1b[2Jthird\\u202e\\u2028"
    assert entry.object_name == "a\\nb\\x00"
    assert entry.hash == chain.digest(entry)
