"""The audit log's pages, exports and command."""

import csv
import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from audit import guards, log
from audit.models import Entry
from tests.build import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(client):
    client.force_login(make_user("admin", role="SuperUser"))
    return client


@pytest.fixture
def entries(client):
    anna, ben = make_user("anna"), make_user("ben")
    log.append(
        "vm.edited",
        "web-01: memory changed",
        user=anna,
        target=("vm", "", "web-01"),
        change=log.changes({"memory_mib": 512}, {"memory_mib": 1024}),
    )
    log.append("vm.start", "ben may not", user=ben, outcome="refused", target=("vm", "", "=HYPERLINK(evil)"))
    log.append("user.created", "<script>alert(1)</script>", user=anna)


def call(*args):
    out = io.StringIO()
    call_command("audit", *args, stdout=out)
    return out.getvalue()


def test_the_list_shows_filters_and_escapes(client, entries):
    page = client.get("/audit/").content.decode()
    assert "web-01: memory changed" in page and "&lt;script&gt;alert" in page and "<script>alert" not in page
    for words, there, gone in (
        ("outcome:refused", "ben may not", "memory changed"),
        ("who:anna", "memory changed", "ben may not"),
        ("object:web-01", "memory changed", "ben may not"),
        ("action:vm.edited", "memory changed", "ben may not"),
        ("memory", "memory changed", "ben may not"),
    ):
        page = client.get("/audit/", {"q": words}).content.decode()
        assert there in page and gone not in page, words


def test_the_list_filters_by_time(client, entries):
    today = timezone.now().date().isoformat()
    assert "memory changed" in client.get("/audit/", {"q": f"time:{today}"}).content.decode()
    assert "memory changed" in client.get("/audit/", {"q": f"time>={today}T00:00"}).content.decode()
    assert "memory changed" not in client.get("/audit/", {"q": f"time<{today}"}).content.decode()
    assert "memory changed" not in client.get("/audit/", {"q": f"time>{today}"}).content.decode()
    for wrong in ("time:yesterday", "time>2026-13-01", "time<9999-12-31T23:59:59"):
        assert client.get("/audit/", {"q": wrong}).status_code in (200, 422)
    assert client.get("/audit/", {"q": "time:yesterday"}).status_code == 422
    assert client.get("/audit/", {"q": "time<=9999-12-31"}).status_code == 422


def test_an_entry_shows_before_and_after_and_its_hash(client, entries):
    entry = Entry.objects.get(action="vm.edited")
    page = client.get(f"/audit/{entry.pk}/").content.decode()
    assert "memory_mib" in page and ">512<" in page and ">1024<" in page and entry.hash in page
    assert client.get("/audit/999999/").status_code == 404
    assert client.get("/audit/99999999999999999999999/").status_code == 404


def test_who_may_not_see_the_system_sees_no_entry(client, entries):
    client.force_login(make_user("dc", role="DataCenterAdmin"))
    key = Entry.objects.first().pk
    for path in ("/audit/", "/audit/?format=csv", "/audit/?format=jsonl", f"/audit/{key}/"):
        assert client.get(path).status_code == 403
    assert "/audit/" not in client.get("/vms/").content.decode()
    client.force_login(make_user("auditor", role="ReadOnlyAdmin"))
    assert client.get("/audit/").status_code == 200 and 'href="/audit/"' in client.get("/vms/").content.decode()


def test_the_exports_hold_all_of_it_and_no_formula(client, entries):
    answer = client.get("/audit/", {"format": "csv", "q": "type:vm"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [row["object_name"] for row in rows] == ["'=HYPERLINK(evil)", "web-01"]
    assert json.loads(rows[1]["after"]) == {"memory_mib": 1024}
    answer = client.get("/audit/", {"format": "jsonl", "sort": "at"})
    found = [json.loads(line) for line in b"".join(answer).decode().splitlines()]
    assert found[-1]["action"] == "audit.exported" and found[-1]["actor_name"] == "admin"  # the export before
    assert [each["id"] for each in found] == sorted(each["id"] for each in found)
    assert client.get("/audit/", {"format": "csv", "q": "nonsense:1"}).status_code == 422


def test_the_command_exports(entries):
    found = [json.loads(line) for line in call("export").splitlines()]
    assert [each["action"] for each in found] == ["vm.edited", "vm.start", "user.created"]
    assert call("export", "--format", "csv", "--filter", "outcome:refused").count("\n") == 2
    with pytest.raises(CommandError, match="nothing to filter by"):
        call("export", "--filter", "nonsense:1")


def test_the_command_verifies(entries):
    guards.install(connection)
    said = call("verify")
    assert "is sound" in said
    noted = said.split()[-1]
    assert "is sound" in call("verify", "--expect", noted)
    guards.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_entry SET message = 'x' WHERE action = 'vm.edited'")
    guards.install(connection)
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("audit", "verify", stdout=out)
    guards.remove(connection)
    assert error.value.returncode == 1
    assert f"entry {Entry.objects.get(action='vm.edited').pk}: it was changed after it was written" in out.getvalue()


def test_the_command_refuses_what_is_no_hash():
    with pytest.raises(CommandError, match="ENTRY:HASH"):
        call("verify", "--expect", "5:abc")


def test_the_api_lists_filters_and_goes_on_after_an_entry(client, entries):
    found = client.get("/api/v1/audit", {"q": "type:vm"}).json()
    assert found["count"] == 2 and [each["action"] for each in found["items"]] == ["vm.start", "vm.edited"]
    assert found["items"][1]["after"] == {"memory_mib": 1024}
    later = client.get("/api/v1/audit", {"after": found["items"][0]["id"]}).json()
    assert [each["action"] for each in later["items"]] == ["user.created"]
    assert client.get("/api/v1/audit", {"q": "nonsense:1"}).status_code == 422
    client.force_login(make_user("dc", role="DataCenterAdmin"))
    assert client.get("/api/v1/audit").status_code == 403
