"""Passkeys: added, used, and refused when anything about the browser's answer is not as it should be."""

import json

import pytest
from django.test import Client

from accounts.factors.models import Passkey
from tests.authenticator import SecurityKey
from tests.build import PASSWORD, make_user

pytestmark = pytest.mark.django_db


def add(client, key, name="blue key"):
    options = client.post("/me/factors/passkeys/options/").json()
    return client.post("/me/factors/passkeys/new/", {"name": name, "credential": key.create(options)})


def password(client, username="anna"):
    return client.post("/sign-in/", {"username": username, "password": PASSWORD})


def options(client):
    return client.post("/sign-in/second/passkey/options/").json()


def show(client, answer, **more):
    return client.post("/sign-in/second/passkey/", {"credential": answer, **more})


def is_in(client):
    return client.get("/me/").status_code == 200


@pytest.fixture
def key():
    return SecurityKey()


@pytest.fixture
def anna(client, key):
    user = make_user("anna")
    client.force_login(user)
    page = add(client, key)
    assert page.status_code == 200, page.content.decode()
    assert 'id="recovery-codes"' in page.content.decode() and "blue key" in page.content.decode()
    client.logout()
    return user


def test_signing_in_takes_the_password_and_the_key(client, anna, key):
    assert password(client).headers["Location"].startswith("/sign-in/second/")
    assert "Use a passkey" in client.get("/sign-in/second/").content.decode()
    asked = options(client)
    assert [each["id"] for each in asked["allowCredentials"]] == [Passkey.objects.get().credential_id]
    assert show(client, key.get(asked), next="//evil.example").headers["Location"] == "/"
    assert is_in(client)
    assert Passkey.objects.get().sign_count == 1


def test_an_answer_is_good_once(client, anna, key):
    password(client)
    answer = key.get(options(client))
    assert show(client, answer).status_code == 302
    other = Client()
    password(other)
    options(other)
    assert show(other, answer).status_code == 422
    assert show(other, key.get({"challenge": ""})).status_code == 422
    assert not is_in(other)


@pytest.mark.parametrize("origin, host", [("https://testserver.evil.example", "testserver"), ("http://testserver", "evil.example")])
def test_an_answer_given_to_another_site_is_refused(client, anna, key, origin, host):
    key.origin, key.host = origin, host
    password(client)
    assert show(client, key.get(options(client))).status_code == 422
    assert not is_in(client)


def test_another_key_and_another_users_key_are_refused(client, anna, key):
    impostor = SecurityKey()
    impostor.identity = key.identity
    password(client)
    assert show(client, impostor.get(options(client))).status_code == 422
    mallory, hers = make_user("mallory"), SecurityKey()
    browser = Client()
    browser.force_login(mallory)
    add(browser, hers)
    assert show(client, hers.get(options(client))).status_code == 422
    assert not is_in(client)


def test_a_key_that_nobody_touched_or_that_was_copied_is_refused(client, anna, key):
    password(client)
    assert show(client, key.get(options(client), flags=0)).status_code == 422
    Passkey.objects.update(sign_count=100)
    assert show(client, key.get(options(client))).status_code == 422
    assert not is_in(client)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{}",
        "[]",
        "null",
        "no JSON",
        '{"id": 1}',
        json.dumps({"id": "x", "rawId": "x", "type": "public-key", "response": {}}),
        "x" * 30000,
    ],
)
def test_nonsense_is_refused(client, anna, answer):
    password(client)
    options(client)
    assert show(client, answer).status_code == 422
    client.force_login(make_user())
    client.post("/me/factors/passkeys/options/")
    assert client.post("/me/factors/passkeys/new/", {"name": "x", "credential": answer}).status_code == 422


def test_without_the_password_there_is_no_challenge(client, anna, key):
    assert client.post("/sign-in/second/passkey/options/").status_code == 403
    assert show(client, key.get({"challenge": "AAAA"})).headers["Location"] == "/sign-in/"


def test_a_key_is_registered_once_and_removed_by_its_owner_alone(client, anna, key):
    client.force_login(make_user("eve"))
    assert add(client, key).status_code == 422
    passkey = Passkey.objects.get()
    assert client.post(f"/me/factors/passkeys/{passkey.pk}/remove/").status_code == 404
    client.force_login(anna)
    assert client.post(f"/me/factors/passkeys/{passkey.pk}/remove/").status_code == 302
    assert not Passkey.objects.exists()
    client.logout()
    assert password(client).headers["Location"] == "/"


def test_a_key_needs_a_name_and_its_own_challenge(client, key):
    client.force_login(make_user())
    assert add(client, key, name="").status_code == 422
    assert client.post("/me/factors/passkeys/new/", {"name": "x", "credential": key.create({"challenge": "AAAA"})}).status_code == 422
    assert "<script>" not in add(client, key, name="<script>alert(1)</script>").content.decode().split("<body")[1]
