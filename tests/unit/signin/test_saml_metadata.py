"""What is read out of a SAML provider's metadata, and what is not believed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from accounts.directory.saml import metadata
from tests.build import make_user
from tests.saml_provider import SSO, make_key

IDP = re.compile(r"<(\w+:)?IDPSSODescriptor.*</(\w+:)?IDPSSODescriptor>", re.DOTALL)


def test_the_three_things_that_count(idp):
    told = metadata.read(f"<!-- ours -->\n{idp.metadata()}")
    assert (told["entity_id"], told["sso_url"]) == (idp.entity_id, SSO)
    assert told["certificates"].split() == idp.certificate.split()
    said = metadata.described(told["certificates"])
    assert len(said) == 1 and said[0].startswith("CN=login.example.org, good until ") and "SHA-256 " in said[0]
    assert metadata.warnings(told["certificates"]) == []


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda text: "nonsense", "cannot be read"),
        (lambda text: IDP.sub("", text), "describe no identity provider"),
        (lambda text: IDP.sub(lambda found: found[0] * 2, text), "several identity providers"),
        (lambda text: text.replace("https://login.example.org/sso", "http://login.example.org/sso"), "does not begin with https"),
        (lambda text: text.replace("https://login.example.org/sso", "javascript:alert(1)"), "does not begin with https"),
        (lambda text: text.replace("HTTP-Redirect", "HTTP-Artifact"), "HTTP-Redirect"),
        (lambda text: text.replace('AuthnRequestsSigned="false"', 'AuthnRequestsSigned="true"'), "wants signed requests"),
        (lambda text: text.replace("MII", "AAA"), "certificate"),
        (lambda text: re.sub(r"<(\w+:)?KeyDescriptor.*</(\w+:)?KeyDescriptor>", "", text, flags=re.DOTALL), "certificate"),
    ],
)
def test_what_is_not_believed(idp, change, why):
    text = change(idp.metadata())
    assert text != idp.metadata()
    with pytest.raises(metadata.BadMetadata, match=why):
        metadata.read(text)


def test_a_certificate_that_ends_is_said(tmp_path: Path):
    for days, word in ((10, "expires on"), (0, "expired on")):
        certificate = Path(make_key(tmp_path, f"in-{days}-days", days)[1]).read_text()
        assert word in metadata.warnings(certificate)[0]


@pytest.mark.django_db
def test_a_refused_form_says_why(client, idp):
    client.force_login(make_user(role="SuperUser"))
    page = client.post("/providers/new/?kind=saml", {"name": "Example", "metadata": idp.metadata().replace("https://", "http://")})
    assert page.status_code == 422 and "does not begin with https" in page.content.decode()
    page = client.post("/providers/new/?kind=saml", {"name": "Example"})
    assert page.status_code == 422 and "or fill this in" in page.content.decode()


def test_the_library_is_loaded_by_who_signs_in_only():
    """It costs every process 20 MiB."""
    code = "import django; django.setup(); import portal.urls, sys; print('saml2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
