"""A page elsewhere, or a request with a false Host: no form, socket, redirect or link of ours works for it."""

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.urls import resolve

from events.models import Event
from hosts.models import Enrolment
from jobs.models import Job
from portal.routing import websocket_urlpatterns
from tests import access
from tests.build import PASSWORD, make_host, make_user, make_vm
from tests.sockets import Browser

# They take no cookie: a token in the Authorization header is the credential, or the provider's signed answer to a
# question that we asked. The document is read only.
WITHOUT_COOKIE = {"enrol-csr", "enrol-ready", "openapi-json", "saml-answer"}
FOREIGN = [
    "https://evil.example/", "//evil.example/", "///evil.example", r"\\evil.example", r"/\evil.example", "http:///evil.example", "https:evil.example",
    "javascript:alert(1)", "data:text/html,x", "\t//evil.example", "http://testserver@evil.example/", "http://testserver.evil.example/", "\x01//evil.example",
]  # fmt: skip
EVIL = "evil.example"


@pytest.mark.django_db
def test_no_url_takes_a_post_without_the_forms_token():
    world = access.World()
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(world.root)
    jobs, events = Job.objects.count(), Event.objects.count()
    tried, open_ = 0, set()
    for _label, path in access.requests(world):
        kinds = (
            ("application/json", "text/plain")
            if path.startswith("/api/v1")
            else ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
        )
        for kind in kinds:
            for method in ("POST", "PATCH", "PUT", "DELETE"):
                tried += 1
                if client.generic(method, path, b"{}", content_type=kind).status_code not in (401, 403, 404, 405):
                    open_.add(resolve(path).url_name)
    assert open_ <= WITHOUT_COOKIE
    assert tried > 400
    assert (Job.objects.count(), Event.objects.count()) == (jobs, events)


@pytest.mark.django_db
def test_a_form_of_another_site_is_refused_even_with_a_token():
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user(role="SuperUser"))
    client.get("/me/")
    token = client.cookies["csrftoken"].value
    vm = make_vm(host=make_host())
    for headers in ({"Origin": f"http://{EVIL}"}, {"Origin": "null"}):
        assert client.post(f"/vms/{vm.pk}/action/start/", {"csrfmiddlewaretoken": token}, headers=headers).status_code == 403
    assert not Job.objects.exists()
    assert (
        client.post(f"/vms/{vm.pk}/action/start/", {"csrfmiddlewaretoken": token}, headers={"Origin": "http://testserver"}).status_code
        == 302
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    "headers", [{"Host": EVIL}, {"Host": f"testserver.{EVIL}"}, {"Host": f"testserver@{EVIL}"}, {"Host": "testserver\r\nX: y"}]
)
def test_another_hosts_name_is_answered_by_nothing(client, headers):
    world = access.World()
    client.force_login(world.root)
    for _label, path in access.requests(world):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 400, path
        assert EVIL not in answer.content.decode(errors="replace") + str(answer.headers), path


@pytest.mark.django_db
def test_links_that_leave_the_site_carry_no_hosts_name_that_a_proxy_did_not_vouch_for(client):
    host = make_host(transport="tls", status="installing")
    client.force_login(make_user(role="SuperUser"))
    shown = client.post(
        f"/hosts/{host.pk}/enrol/", headers={"X-Forwarded-Host": EVIL, "Forwarded": f"host={EVIL}", "X-Forwarded-Proto": "https"}
    )
    assert shown.status_code == 200
    assert EVIL not in shown.content.decode()
    assert EVIL not in client.get(f"/enrol/{Enrolment.objects.get().pk}/script.sh", headers={"X-Forwarded-Host": EVIL}).content.decode()


@pytest.mark.parametrize("target", FOREIGN)
@pytest.mark.django_db
def test_no_next_leads_elsewhere(target):
    """Every view that reads `next`; those of the second factor and of directories have tests of their own."""
    client, world = Client(), access.World()
    person = make_user("anna")
    answers = [
        client.post("/sign-in/", {"username": person.username, "password": PASSWORD, "next": target}),
        client.get("/sign-in/", {"next": target}),
    ]
    client.force_login(world.root)
    grant = {"role": str(world.grant.role.pk), "user": str(person.pk), "object_type": "vm", "object_id": str(world.vm.pk), "next": target}
    answers.append(client.post("/grants/give/", grant))
    answers.append(client.post(f"/grants/{world.grant.pk}/withdraw/", {"next": target}))
    answers.append(client.post("/me/columns/", {"list": "vms", "next": target}))
    answers.append(client.post(f"/vms/{world.vm.pk}/action/start/", {"next": target}, headers={"Referer": f"http://{EVIL}/"}))
    answers.append(client.post(f"/jobs/{world.job.pk}/cancel/", {"next": target}, headers={"Referer": f"http://{EVIL}/"}))
    for answer in answers:
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/") and not answer.headers["Location"].startswith(("//", "/\\"))
        assert EVIL not in answer.headers["Location"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["//evil.example/vms", "//evil.example/%2e%2e", "/\\evil.example"])
def test_an_address_that_lacks_its_slash_leads_nowhere_foreign(client, path):
    answer = client.get(path)
    assert not answer.headers.get("Location", "/").startswith(("//evil", "/\\", "http"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "origin",
    [f"http://{EVIL}", f"https://{EVIL}:8000", "null", "", "http://localhost.evil.example", "file://", "http://localhost@evil.example"],
)
@pytest.mark.parametrize("pattern", [str(entry.pattern) for entry in websocket_urlpatterns])
async def test_no_socket_opens_for_a_foreign_page(pattern, origin):
    def signed_in():
        return Browser(make_user(role="SuperUser")), make_vm(host=make_host())

    browser, vm = await sync_to_async(signed_in)()
    path = "/" + pattern.replace("<uuid:vm_id>", str(vm.pk))
    assert not await browser._socket(path, origin).connect()
    assert await browser._socket(path, "http://localhost").connect()
