"""No secret gets in, whatever it is called and wherever it lies; and all that gets in verifies afterwards."""

import json
import unicodedata

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from audit import chain
from audit.log import changes
from audit.models import Entry
from audit.redact import HIDDEN, is_secret, plain, text

SECRET = "correct-horse-battery-staple"
NAMES = ("password", "passwd", "Passphrase", "secret", "client_secret", "token", "apiKey", "SSH_KEY", "ticket", "Authorization", "cookie", "totp", "otp")  # fmt: skip

leaves = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=30)
    | some.datetimes()
    | some.uuids()
    | some.binary(max_size=8)
)
values = some.recursive(
    leaves,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=10) | some.integers(), inner, max_size=4),
    max_leaves=20,
)
secret_names = some.builds(
    lambda before, name, after, upper: f"{before}{name.upper() if upper else name}{after}",
    some.sampled_from(["", "old_", "new-", "my.", "vnc "]), some.sampled_from(NAMES), some.sampled_from(["", "_2", "s", ".text"]), some.booleans(),
)  # fmt: skip


def everywhere(inner):
    """A value that holds a secret under a secret's name, at some depth."""
    return some.recursive(
        inner,
        lambda deeper: (
            some.builds(lambda name, value: {name: value}, some.sampled_from(["a", "settings", "b"]), deeper)
            | some.lists(deeper, min_size=1, max_size=3)
        ),
        max_leaves=4,
    )


@given(
    everywhere(
        some.builds(lambda name, rest: {name: rest}, secret_names, some.sampled_from([SECRET, [SECRET], {"value": SECRET}, (1, SECRET)]))
    )
)
def test_what_stands_under_a_secrets_name_is_hidden(value):
    assert SECRET not in json.dumps(plain(value))


@given(values)
def test_every_value_becomes_json_that_stays_the_same(value):
    written = plain(value)
    assert json.loads(json.dumps(written)) == written
    assert plain(written) == written


@given(some.text(max_size=200))
def test_every_text_is_one_line_that_utf8_carries(value):
    line = text(value)
    assert not {unicodedata.category(letter) for letter in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    line.encode()
    assert len(text(value, 20)) <= 20


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=some.dictionaries(some.text(max_size=8), values, max_size=4), message=some.text(max_size=80))
def test_every_entry_has_the_same_hash_when_it_is_read_again(before, message):
    key = (Entry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1
    entry = Entry(id=key, at=timezone.now(), action="x", channel="page", message=text(message), before=plain(before))
    entry.hash = chain.digest(entry)
    entry.save()
    assert chain.digest(Entry.objects.get(pk=key)) == entry.hash


@pytest.mark.parametrize(
    "value",
    [
        "the token vireo_abcdefghijklmnopqrstuvwxyz",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----",
        "ldaps://reader:abcdefghijklmnop@ldap.example/",
        "Authorization: Bearer abcdefghijklmnopqrst",
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden_in_any_text(value):
    found = text(value)
    assert HIDDEN in found and "abcdefghijk" not in found and "b3Blbn" not in found


@pytest.mark.parametrize(
    "name", ["name", "description", "memory_mib", "permissions", "hotplug", "address", "members", "role", "until", "next_run"]
)
def test_plain_names_are_no_secrets(name):
    assert not is_secret(name)


def test_that_a_secret_changed_is_seen_without_it():
    change = changes({"secret": "one", "name": "a"}, {"secret": "two", "name": "a"})
    assert plain(change.before) == plain(change.after) == {"secret": HIDDEN}


def test_changes_are_what_differs():
    change = changes({"a": 1, "b": 2, "gone": 3}, {"a": 1, "b": 5, "new": None})
    assert (change.before, change.after) == ({"b": 2, "gone": 3}, {"b": 5, "new": None})
