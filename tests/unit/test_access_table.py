"""Every URL, API operation and WebSocket lets in whom the access table says, and nobody else."""

import os

import pytest

from tests import access


@pytest.mark.django_db
def test_everything_lets_in_whom_the_access_table_says(settings, caplog):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    caplog.set_level("CRITICAL")
    rows = access.build()
    if os.environ.get("VIREO_WRITE_ACCESS"):
        access.write(rows)
    wanted = access.TABLE.read_text().splitlines()[1:]
    missing, gone = sorted(set(rows) - set(wanted)), sorted(set(wanted) - set(rows))
    assert not missing and not gone, "the product differs from tests/access/table.tsv:\n" + "\n".join([f"  now:   {row}" for row in missing] + [f"  table: {row}" for row in gone])


def test_no_row_lets_a_stranger_change_anything():
    """Beside the table's own review: nobody without a grant changes an object."""
    # One's own things; and a grant's object is named in the body, where accounts.services.give checks it.
    own = ("/me/", "/sign-", "/search/", "/jobs/tray/", "/grants/give/")
    for row in access.TABLE.read_text().splitlines()[1:]:
        what, method, who = row.split("\t")
        if method in ("POST", "PATCH", "DELETE") and who in (access.SIGNED_OUT, "signed in"):
            assert what.startswith(own) or "/enrol/" in what, row
