"""Names, notes and what a guest says about itself are text on every page, whatever stands in them."""

import csv
import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.db import models
from lxml import html

from events.log import record
from tests import access
from tests.build import make_user

pytestmark = pytest.mark.django_db

# Breaks out of text, of attributes in either quote, of a script's JSON, and of a title; would make an element and an attribute.
MARK = "hostile"
EVIL = f"""x"'></script></title><{MARK}-e {MARK}-a=1>{{{{7*7}}}}"""
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1")
OURS = {"accounts", "hosts", "storage", "networks", "vms", "jobs", "events"}
# Whatever is no free text: states, kinds and keys that the product itself writes, and what is checked when it is written.
FIXED = {"object_type", "scope", "kind", "format", "transport", "digest", "session_key", "password", "firmware", "permission", "device", "bus",
         "target", "mac", "content", "severity", "forward", "driver", "test_uri", "credential_id", "encrypted_secret", "domain_name", "email",
         "fingerprint", "origin", "external_id", "host_key", "display_secret", "name_of_role", "public_key", "cidr"}  # fmt: skip
TABS = ("disks", "networks", "settings", "permissions", "events", "vms", "storage", "capabilities")


def _fill(text):
    """Writes the text into every free text of every row; keeps names of roles that the product looks up."""
    count = 0
    for model in apps.get_models():
        if model._meta.app_label not in OURS or model._meta.proxy or model.__name__ in ("RolePermission", "HostKey"):
            continue
        for field in model._meta.concrete_fields:
            if not isinstance(field, models.CharField | models.TextField) or field.choices or field.name in FIXED or field.primary_key:
                continue
            for number, row in enumerate(model._base_manager.all()):
                if model.__name__ == "Role" and field.name == "name" and row.name == "SuperUser":
                    continue
                value = f"{number}{text}" if text is EVIL else f"{text}{number}"
                try:
                    model._base_manager.filter(pk=row.pk).update(**{field.name: value[: field.max_length] if field.max_length else value})
                    count += 1
                except Exception as error:
                    raise AssertionError(f"{model.__name__}.{field.name}: {error}") from error
    return count


@pytest.fixture
def world(client):
    world = access.World()
    world.person.full_name = "somebody"
    world.person.save()
    vm = world.vm
    vm.tags, vm.guest_addresses, vm.status = [EVIL], [EVIL], "up"
    vm.drift = [{"field": EVIL, "wanted": EVIL, "found": EVIL}]
    vm.save()
    world.group.members.add(world.person)
    world.group.grants.create(role=world.grant.role, object_type="vm", object_id=vm.pk)
    record("vm.edited", "an event", obj=vm, user=world.person, details={"note": EVIL})
    client.force_login(world.root)
    return world


def _check(answer, where):
    """The page's tree has no element and no attribute that a text made, and no link that is a script."""
    kind = answer.headers.get("Content-Type", "")
    assert answer.headers["X-Content-Type-Options"] == "nosniff", where
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    if not kind.startswith("text/html") or not body.strip():
        assert (
            kind.split(";")[0] in ("application/json", "application/problem+json", "application/samlmetadata+xml", "text/csv", "text/plain", "image/png", "") or not body
        ), (where, kind)
        return ""
    for element in html.document_fromstring(body).iter():
        if not isinstance(element.tag, str):
            continue
        assert MARK not in element.tag, (where, html.tostring(element)[:300])
        for name, value in element.attrib.items():
            assert MARK not in name, (where, html.tostring(element)[:300])
            if name in ("href", "src", "action", "formaction"):
                assert not value.strip().lower().startswith(("javascript:", "data:text", "vbscript:")), (where, value)
            if name.startswith("data-") and value.startswith(("{", "[")):
                json.loads(value)
        if element.tag == "script":
            assert element.get("src") or element.get("type") == "application/json", where
            if not element.get("src"):
                json.loads(element.text or "null")
    return body.decode()


def test_stored_text_makes_no_markup_on_any_page(client, world):
    assert _fill(EVIL) > 60
    pages = [path for _label, path in access.requests(world) if not path.startswith(("/api/v1/openapi", "/sign-out"))]
    pages += [f"{shown.get_absolute_url()}?tab={tab}" for shown in (world.vm, world.host) for tab in TABS]
    drawn, seen = 0, 0
    for path in pages:
        answer = client.get(path)
        assert answer.status_code < 500, path
        page = _check(answer, path)
        drawn += bool(page)
        seen += f"&lt;{MARK}-e" in page
    assert drawn > 60
    assert seen > 30, "the texts must be on the pages, or this proves nothing"


def test_the_portal_shows_text_as_text(client, world):
    person = make_user("anna", role="UserVmManager", on=world.vm)
    _fill(EVIL)
    client.force_login(person)
    for path in ("/", f"/vms/{world.vm.pk}/", f"/my/vms/{world.vm.pk}/resize/", "/me/", "/events/", "/jobs/", "/search/?q=x"):
        assert MARK in _check(client.get(path), path) or path in ("/me/", "/search/?q=x"), path


@pytest.mark.parametrize("name", ["q", "sort", "page", "tab", "next", "template", "copy", "kind", "format"])
def test_what_an_address_says_makes_no_markup(client, world, name):
    for _label, path in access.requests(world):
        if not path.startswith(("/api/v1", "/sign-in/by")):
            answer = client.get(path, {name: EVIL})
            assert answer.status_code < 500, path
            _check(answer, (path, name))


def test_what_a_form_got_is_shown_again_as_text(client, world):
    names = (
        "name",
        "username",
        "full_name",
        "description",
        "path",
        "address",
        "directory_group",
        "role",
        "who",
        "grant",
        "action",
        "all",
        "ids",
        "memory_mib",
    )
    for _label, path in access.requests(world):
        if not path.startswith(("/api/v1", "/look", "/sign-out", "/sessions", "/users/", "/sign-in/by")):
            answer = client.post(path, dict.fromkeys(names, EVIL))
            assert answer.status_code < 500, path
            _check(answer, path)


def _body(answer):
    """Of a streamed answer, whichever way it streams."""

    async def collect():
        return b"".join([part async for part in answer.streaming_content])

    return async_to_sync(collect)() if answer.is_async else b"".join(answer.streaming_content)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_any_export_is_a_formula(client, world, formula):
    _fill(formula)
    exported = 0
    for _label, path in access.requests(world):
        if path.startswith("/api/v1"):
            continue
        answer = client.get(path, {"format": "csv"})
        if not answer.headers.get("Content-Type", "").startswith("text/csv"):
            continue
        exported += 1
        assert answer.headers["Content-Disposition"].startswith("attachment")
        rows = list(csv.reader(io.StringIO(_body(answer).decode(), newline="")))
        for cell in (cell for row in rows[1:] for cell in row):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (path, cell)
    assert exported >= 8
