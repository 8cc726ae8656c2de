"""Fields that nobody asked for, bodies of the wrong kind or size, and text that would forge a line of the log."""

import json
import logging

import pytest
from django.conf import settings
from django.test import Client

from accounts import tokens
from accounts.models import Role, User
from jobs.models import Job
from portal.logs import OneLine
from portal.settings import LOGGING
from tests import access
from tests.build import PASSWORD, make_host, make_storage, make_template, make_user, make_vm
from vms.models import VM

pytestmark = pytest.mark.django_db
MORE = {"owner": "x", "status": "up", "id": "0" * 32, "created_at": "2000-01-01T00:00:00Z", "rev": 99, "is_active": True, "host_id": "x", "kernel": "/etc/shadow",
        "display_secret": "x", "domain_name": "x", "expires_at": None, "guest_hostname": "x", "drift": [], "next_run": {}, "__class__": "x"}  # fmt: skip


@pytest.fixture
def api():
    _token, text = tokens.create(make_user("root", role="SuperUser"), "t")
    client = Client(raise_request_exception=False)

    def call(method, path, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.generic(method, f"/api/v1{path}", data, content_type=kind, headers={"Authorization": f"Bearer {text}"})

    return call


@pytest.mark.parametrize("field", MORE)
def test_the_api_takes_no_field_that_is_not_the_callers_to_set(api, field):
    host = make_host()
    vm = make_vm(host=host)
    make_storage(data_center=host.cluster.data_center)
    bodies = {
        ("POST", "/vms"): {"name": "new", "cluster": host.cluster.name, "disk_bytes": 1 << 30},
        ("PATCH", f"/vms/{vm.pk}"): {"description": "changed"},
        ("POST", f"/vms/{vm.pk}/start"): {},
        ("POST", "/hosts"): {"name": "new", "cluster": host.cluster.name, "address": "192.0.2.9"},
        ("POST", "/templates"): {"name": "new", "vm": vm.name},
    }
    before = VM.objects.filter(pk=vm.pk).values().get()
    for (method, path), body in bodies.items():
        answer = api(method, path, body | {field: MORE[field]})
        assert answer.status_code == 422, (path, answer.content)
        assert answer.json()["errors"][0]["field"] == field
    assert VM.objects.filter(pk=vm.pk).values().get() == before
    assert not Job.objects.exists()


def test_forms_pass_over_fields_that_are_not_theirs(client):
    world = access.World()
    person, nobody = make_user("anna"), make_user("nobody")
    client.force_login(person)
    client.post("/me/preferences/", {"theme": "dark", "is_active": "", "is_service": "1", "username": "root2", "preferences": "{}"})
    client.post("/me/keys/new/", {"name": "k", "public_key": "x", "user": str(world.root.pk)})
    client.post("/me/tokens/new/", {"name": "t", "scope": "all", "lifetime_days": "30", "user": str(world.root.pk), "digest": "x"})
    assert world.root.tokens.count() == 0
    person.refresh_from_db()
    assert (person.username, person.is_active, person.is_service) == ("anna", True, False)
    client.force_login(world.root)
    data = {
        "username": "made",
        "password": PASSWORD,
        "is_service": "1",
        "source": str(world.provider.pk),
        "grants": "SuperUser",
        "id": str(nobody.pk),
    }
    assert client.post("/users/new/", data).status_code == 302
    made = User.objects.get(username="made")
    assert (made.is_service, made.source, made.grants.count()) == (False, None, 0)
    own = {"name": "own", "permissions": ["vm.view"], "predefined": "1"}
    assert client.post("/roles/new/", own).status_code == 302
    assert not Role.objects.get(name="own").predefined
    host = world.host
    template = make_template(data_center=host.cluster.data_center)
    vm = {
        "name": "mine",
        "template": template.pk,
        "owner": str(nobody.pk),
        "status": "up",
        "memory_mib": "999999",
        "kernel": "/etc/shadow",
        "host": str(host.pk),
    }
    assert client.post("/my/new/", vm).status_code == 302
    row = VM.objects.get(name="mine")
    assert (row.owner, row.status, row.kernel, row.memory_mib, row.host) == (world.root, "image_locked", "", template.memory_mib, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"x"', b"[" * 100_000, b'{"name":' * 5_000, b"\xff\xfe", b'{"name": NaN}', b'{"memory_mib": 1e999}', b"\0"],
)
def test_a_body_that_is_no_object_is_a_problem_and_no_failure(api, body):
    vm = make_vm(host=make_host())
    for method, path in (("POST", "/vms"), ("PATCH", f"/vms/{vm.pk}"), ("POST", "/hosts"), ("POST", "/templates")):
        answer = api(method, path, body)
        assert answer.status_code in (400, 422), (path, answer.status_code)
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert api("POST", f"/vms/{vm.pk}/start", body).status_code < 500


@pytest.mark.parametrize("field", ["name", "cluster", "description", "tags", "iso"])
def test_a_nul_is_refused_before_the_database_sees_it(api, field):
    body = {"name": "new", "cluster": "c"} | {field: ["a\0b"] if field == "tags" else "a\0b"}
    assert api("POST", "/vms", body).json()["errors"][0]["field"].startswith(field)


def test_a_nul_in_an_address_or_a_selection_is_refused(client):
    world = access.World()
    client.force_login(world.root)
    for path in ("/vms/?q=a%00b", "/users/?q=%00", "/roles/new/?copy=%00", "/search/?q=%00", "/api/v1/vms?name=%00", "/?%00", "/vms/%00/"):
        assert client.get(path).status_code in (400, 404), path
    for text in ("a\0b", "nosuchfield:x", "cpu>much", "x" * 600):
        assert client.post("/vms/bulk/", {"action": "start", "all": text}).status_code in (302, 400, 422)
    assert client.post(f"/my/vms/{world.vm.pk}/share/", {"who": "a\0b", "role": "UserRole"}).status_code == 302
    assert not Job.objects.exclude(pk=world.job.pk).exists()


def test_a_body_larger_than_allowed_is_refused(api, client):
    large = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
    answer = api("POST", "/vms", b'{"name": "' + b"x" * large + b'"}')
    assert answer.status_code == 413
    assert answer.json()["status"] == 413
    client.force_login(make_user("other", role="SuperUser"))
    assert client.post("/vms/new/", {"description": "x" * large}).status_code == 400
    assert (
        client.post(
            "/users/new/", "&".join(f"f{number}=1" for number in range(3000)), content_type="application/x-www-form-urlencoded"
        ).status_code
        == 400
    )


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-7",
        "",
    ],
)
def test_another_content_type_changes_nothing_that_the_body_does_not_say(api, kind):
    vm = make_vm(host=make_host(), name="same")
    for body in (b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><name>&e;</name>", b"name=other", b"+AHsAIg-"):
        answer = api("PATCH", f"/vms/{vm.pk}", body, kind)
        assert answer.status_code in (400, 415, 422)
        assert b"root:" not in answer.content
    vm.refresh_from_db()
    assert vm.name == "same"


HOSTILE = "anna\r\n2026-01-01 00:00:00,000 INFO accounts: root signed in\x1b[2J\u2028x\u202ey"


def _logged(message, *arguments, **options):
    formatter = OneLine(LOGGING["formatters"]["line"]["format"])
    made = logging.getLogger("test").makeRecord("test", logging.WARNING, "f", 1, message, arguments, **({"exc_info": None} | options))
    return formatter.format(made)


def test_a_log_entry_is_one_line():
    line = _logged("sign-in of %s failed", HOSTILE)
    assert len(line.splitlines()) == 1
    assert not set(line) & set("\r\n\x1b\u2028\u202e")
    assert "\\x0d\\x0a" in line
    assert LOGGING["formatters"]["line"]["()"] == "portal.logs.OneLine"
    assert {each["formatter"] for each in LOGGING["handlers"].values()} == {"line"}


def test_no_line_of_a_traceback_passes_for_an_entry():
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        text = _logged("failed", exc_info=(type(error), error, error.__traceback__))
    first, *rest = text.splitlines()
    assert first.endswith("failed")
    assert rest and all(line.startswith("    ") for line in rest)


def test_what_a_sign_in_leaves_in_the_log_and_the_list_of_events_is_one_line(client):
    from events.models import Event

    client.post("/sign-in/", {"username": HOSTILE, "password": "wrong"})
    event = Event.objects.get(kind="session.refused")
    assert len(event.message.splitlines()) == 1
    assert "\n" not in event.user_name + event.object_name


@pytest.mark.parametrize("name", [HOSTILE, "a\nb", "a\u202eb", "a\u200bb", "\u2066x", "a\tb"])
def test_nobody_gets_a_name_that_forges_lines_or_looks_like_another(client, name):
    root = make_user("root", role="SuperUser")
    client.force_login(root)
    for path, data in {
        "/users/new/": {"username": name, "password": PASSWORD},
        "/service-accounts/new/": {"username": name},
        "/groups/new/": {"name": name},
        "/roles/new/": {"name": name, "permissions": ["vm.view"]},
        "/data-centers/new/": {"name": name},
        "/instance-types/new/": {"name": name, "vcpus": 1, "memory_mib": "512 MiB"},
    }.items():
        assert client.post(path, data).status_code == 422, path
    assert client.post("/users/new/", {"username": "fine", "full_name": name, "password": PASSWORD}).status_code == 422
