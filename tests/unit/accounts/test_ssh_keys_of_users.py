"""The SSH keys of an account: what is taken for a key, and whose they are."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from accounts.keys import services
from accounts.models import UserKey
from portal.errors import FieldError
from tests.build import make_user

pytestmark = pytest.mark.django_db


def public(key):
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


@pytest.fixture(scope="module")
def good():
    return public(ed25519.Ed25519PrivateKey.generate())


def test_a_key_is_kept_once_named_by_its_comment(good):
    user = make_user()
    key = services.add(user, f"  {good} anna@laptop\n")
    assert (key.name, key.public_key) == ("anna@laptop", good)
    assert key.fingerprint.startswith("SHA256:") and len(key.fingerprint) == 50
    with pytest.raises(FieldError, match="kept already"):
        services.add(user, good, "again")
    services.add(make_user(), good)


def test_what_is_no_key_is_refused(good):
    user = make_user()
    weak = public(rsa.generate_private_key(65537, 1024))
    for text in (
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        f"{good}\n{good}",
        f'command="rm" {good}',
        "ssh-dss AAAA x",
        weak,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        good[:-9],
        "x" * 20_000,
    ):
        with pytest.raises(FieldError):
            services.add(user, text)
    assert not UserKey.objects.exists()


def test_the_page_keeps_shows_and_removes_ones_own_alone(client, good):
    user, other = make_user(), make_user()
    client.force_login(user)
    assert client.post("/me/keys/new/", {"public_key": good, "key_name": "<i>laptop</i>"}).status_code == 302
    page = client.get("/me/").content.decode()
    assert "&lt;i&gt;laptop" in page and "<i>laptop" not in page
    key = UserKey.objects.get()
    client.force_login(other)
    assert client.post(f"/me/keys/{key.pk}/delete/").status_code == 404
    client.force_login(user)
    assert client.post(f"/me/keys/{key.pk}/delete/").status_code == 302
    assert not UserKey.objects.exists()
