"""The REST API's promises: shapes, filters, status codes, problems with the field at fault, constant queries."""

import json
import uuid

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Token
from accounts.permissions import grant
from accounts.tokens import create, digest_of
from tests.build import make_host, make_storage, make_template, make_user, make_vm

pytestmark = pytest.mark.django_db


class Api:
    def __init__(self, client, user):
        self.client, self.headers = client, {"Authorization": f"Bearer {create(user, 'test')[1]}"}

    def __call__(self, method, path, body=None):
        data = json.dumps(body) if body is not None else ""
        return self.client.generic(method, f"/api/v1{path}", data, content_type="application/json", headers=self.headers)


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


@pytest.fixture
def api(client, admin):
    return Api(client, admin)


def problem(answer, status):
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert "Traceback" not in answer.content.decode()
    return answer.json()


def test_without_a_token_it_answers_401_as_a_problem(client):
    answer = client.get("/api/v1/vms")
    assert problem(answer, 401)["title"] == "Not signed in"
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_list_answers_items_and_count_and_takes_the_pages_filters(api):
    host = make_host()
    for name in ("web-01", "web-02", "db-01"):
        make_vm(name=name, host=host, status="up" if name != "db-01" else "down")
    assert api("GET", "/vms").json()["count"] == 3
    assert [vm["name"] for vm in api("GET", "/vms?name=WEB-01").json()["items"]] == ["web-01"]
    assert api("GET", "/vms?q=status:up -name:web-02").json()["count"] == 1
    page = api("GET", "/vms?limit=1&offset=1").json()
    assert (len(page["items"]), page["count"]) == (1, 3)
    assert problem(api("GET", "/vms?q=colour:red"), 422)["errors"][0]["field"] == "q"


def test_it_shows_only_what_was_granted_and_hides_the_rest_as_missing(client):
    mine, other = make_vm(name="mine"), make_vm(name="other")
    user = make_user()
    grant("UserRole", mine, user=user)
    api = Api(client, user)
    assert [vm["name"] for vm in api("GET", "/vms").json()["items"]] == ["mine"]
    problem(api("GET", f"/vms/{other.pk}"), 404)
    problem(api("POST", f"/vms/{other.pk}/start"), 404)
    problem(api("DELETE", f"/vms/{mine.pk}"), 403)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"memory_mib": 0}, "memory_mib"),
        ({"vcpus": 0}, "vcpus"),
        ({"template": "no such template"}, "template"),
        ({"cluster": str(uuid.uuid4())}, "cluster"),
        ({"name": ""}, "name"),
        ({"colour": "red"}, "colour"),
        ({"memory_mib": "much"}, "memory_mib"),
    ],
)
def test_a_bad_body_is_refused_with_the_field_at_fault(api, change, field):
    host = make_host()
    template = make_template(data_center=host.cluster.data_center)
    body = {"name": "new", "cluster": host.cluster.name, "template": template.name} | change
    assert problem(api("POST", "/vms", body), 422)["errors"][0]["field"] == field


def test_creating_answers_202_with_the_vm_and_its_job_and_a_taken_name_is_refused(api):
    host = make_host()
    template = make_template(data_center=host.cluster.data_center)
    make_storage(data_center=host.cluster.data_center)
    body = {"name": "new", "cluster": host.cluster.name, "template": template.name}
    answer = api("POST", "/vms", body)
    assert answer.status_code == 202, answer.content
    assert (answer.json()["vm"]["status"], answer.json()["job"]["status"]) == ("image_locked", "queued")
    assert problem(api("POST", "/vms", body), 422)["errors"][0]["field"] == "name"


def test_an_action_answers_202_with_its_job_and_an_impossible_one_409_with_the_reason(api):
    vm = make_vm(host=make_host(), name="web")
    started = api("POST", f"/vms/{vm.pk}/start")
    assert started.status_code == 202
    assert started.json()["title"] == "Run web"
    assert "busy" in problem(api("POST", f"/vms/{vm.pk}/start"), 409)["detail"]
    up = make_vm(host=vm.host, name="up", status="up")
    assert "running already" in problem(api("POST", f"/vms/{up.pk}/start"), 409)["detail"]
    problem(api("POST", f"/vms/{up.pk}/explode"), 422)
    job = api("GET", f"/jobs/{started.json()['id']}").json()
    assert job["steps"][0]["status"] == "pending"


def test_garbage_is_a_problem_and_not_a_traceback(api, client):
    answer = client.generic("POST", "/api/v1/vms", "{not json", content_type="application/json", headers=api.headers)
    assert answer.status_code in (400, 422)
    assert "Traceback" not in answer.content.decode()


@pytest.mark.parametrize("path", ["/api/v1/vms", "/vms/"])
def test_a_list_takes_as_many_queries_for_many_vms_as_for_few(client, admin, api, path):
    client.force_login(admin)

    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    host = make_host()
    for _ in range(3):
        make_vm(host=host)
    client.get(path)
    few = queries()
    for _ in range(60):
        make_vm(host=make_host(cluster=host.cluster))
    assert queries() == few <= 12


def test_the_document_describes_every_operation(client):
    document = client.get("/api/v1/openapi.json").json()
    assert {
        "/api/v1/vms",
        "/api/v1/vms/{pk}",
        "/api/v1/vms/{pk}/{action}",
        "/api/v1/hosts",
        "/api/v1/jobs/{pk}",
        "/api/v1/templates",
    } <= set(document["paths"])


def test_a_tokens_text_is_stored_nowhere_and_an_expired_or_inactive_one_opens_nothing(client, admin):
    from datetime import timedelta

    from django.utils import timezone

    token, text = create(admin, "t")
    assert token.digest == digest_of(text)
    assert text not in str(Token.objects.values_list())
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get("/api/v1/vms", headers=headers).status_code == 200
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/vms", headers=headers).status_code == 401
    Token.objects.update(expires_at=None)
    admin.is_active = False
    admin.save()
    assert client.get("/api/v1/vms", headers=headers).status_code == 401


def test_the_command_line_makes_a_token(capsys, client, admin):
    call_command("token", "create", "admin")
    text = capsys.readouterr().out.strip()
    assert client.get("/api/v1/vms", headers={"Authorization": f"Bearer {text}"}).status_code == 200
