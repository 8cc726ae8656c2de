"""What a guest reads at its first boot: every value arrives as it was typed, and as nothing else."""

import base64
import io

import pycdlib
import pytest
import yaml
from lxml import etree
from passlib.hash import sha512_crypt

from portal.errors import FieldError
from vms.guest.cloud_init import SCRIPT_PATH
from vms.guest.seed import SEED_BYTES, SeedFor, files, image
from vms.guest.settings import FirstBoot, NicSetup, checked, hostname_for, login_for, opened, sealed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzOhjE7ULjC1pdrXGx2mJLxbF0dUCXKYe3KAuWDlGnf"
HOSTILE = "a\"b'c: {x}\n- &a *a\n#cloud-config\n%YAML <&>]]>"
UNATTEND = {"u": "urn:schemas-microsoft-com:unattend"}
WEB = SeedFor("web 01", "i-1", [("nic1", "52:54:00:00:00:01"), ("nic2", "52:54:00:00:00:02")])


def texts(settings, seed=WEB):
    label, found = files(checked(settings), seed)
    assert label == "cidata"
    return {name: yaml.safe_load(text) for name, text in found.items()}


def read(data):
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(data))
    found = {}
    for child in iso.list_children(joliet_path="/"):
        if child.is_file():
            name = child.file_identifier().decode("utf-16-be")
            out = io.BytesIO()
            iso.get_file_from_iso_fp(out, joliet_path=f"/{name}")
            found[name] = out.getvalue().decode()
    label = iso.pvd.volume_identifier.decode().strip()
    iso.close()
    return label, found


def test_the_image_has_the_label_and_the_files_that_cloud_init_looks_for():
    data = image(checked(FirstBoot(by="cloud-init", user="alice", ssh_keys=(KEY,))), WEB)
    label, found = read(data)
    assert (len(data), label) == (SEED_BYTES, "cidata")
    assert set(found) == {"user-data", "meta-data", "network-config"}
    assert found["user-data"].startswith("#cloud-config\n")


def test_a_user_gets_keys_and_a_password_that_is_kept_only_as_its_hash():
    settings = checked(FirstBoot(by="cloud-init", user="alice", password="s3cret: #x", ssh_keys=(f"{KEY} comment: {{x}}", KEY)))
    assert settings.password == ""
    user = texts(settings)["user-data"]["users"][0]
    assert (user["name"], user["ssh_authorized_keys"], user["lock_passwd"]) == ("alice", [KEY], False)
    assert sha512_crypt.verify("s3cret: #x", user["passwd"])
    assert "s3cret" not in sealed(settings) and "s3cret" not in repr(settings)
    assert opened(sealed(settings)) == settings


def test_without_a_user_the_images_own_gets_them():
    found = texts(FirstBoot(by="cloud-init", password="x", ssh_keys=(KEY,)))["user-data"]
    assert found["ssh_authorized_keys"] == [KEY]
    assert sha512_crypt.verify("x", found["password"]) and found["chpasswd"] == {"expire": False}
    assert "users" not in found


def test_hostile_text_stays_where_it_was_put():
    found = texts(FirstBoot(by="cloud-init", script=HOSTILE), SeedFor(HOSTILE, HOSTILE))
    (file,) = found["user-data"]["write_files"]
    assert file == {"path": SCRIPT_PATH, "permissions": "0755", "content": f"#!/bin/sh\n{HOSTILE}\n"}
    assert found["meta-data"]["instance-id"] == HOSTILE
    assert found["user-data"]["hostname"] == hostname_for(HOSTILE) == "a-b-c-x-a-a-cloud-config-YAML"[:63].lower()


def test_the_users_own_cloud_config_is_merged_in():
    settings = FirstBoot(
        by="cloud-init", script="#!/bin/sh\ntrue", user_data="packages: [htop]\nwrite_files: [{path: /a}]\nssh_pwauth: true"
    )
    found = texts(settings)["user-data"]
    assert found["packages"] == ["htop"]
    assert [file["path"] for file in found["write_files"]] == [SCRIPT_PATH, "/a"]
    assert found["ssh_pwauth"] is True


def test_each_nic_is_set_up_by_its_mac_address():
    nic = NicSetup("nic2", "static", "192.0.2.10/24", "192.0.2.1", ("192.0.2.53", "2001:db8::53"))
    found = texts(FirstBoot(by="cloud-init", nics=(nic,)))["network-config"]["ethernets"]
    assert found["nic1"] == {"match": {"macaddress": "52:54:00:00:00:01"}, "dhcp4": True}
    assert found["nic2"] == {
        "match": {"macaddress": "52:54:00:00:00:02"},
        "dhcp4": False,
        "optional": True,
        "addresses": ["192.0.2.10/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.1"}],
        "nameservers": {"addresses": ["192.0.2.53", "2001:db8::53"]},
    }


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"by": "ignition"}, "by"),
        ({"user": "Alice; rm"}, "user"),
        ({"hostname": "a_b"}, "hostname"),
        ({"hostname": "-a"}, "hostname"),
        ({"password": "a\nb"}, "password"),
        ({"ssh_keys": ("ssh-rsa AAAA",)}, "ssh_keys"),
        ({"ssh_keys": ("-----BEGIN OPENSSH PRIVATE KEY-----",)}, "ssh_keys"),
        ({"script": "x" * 70_000}, "script"),
        ({"script": "a\x1bb"}, "script"),
        ({"user_data": "a: [1"}, "user_data"),
        ({"user_data": "- a"}, "user_data"),
        ({"user_data": "!!python/object/apply:os.system [id]"}, "user_data"),
        ({"user_data": "[" * 5000}, "user_data"),
        ({"user_data": "#!/bin/sh\nid"}, "user_data"),
        ({"nics": (NicSetup("nic1", "static", "192.0.2.1"),)}, "nics"),
        ({"nics": (NicSetup("nic1", "static", "192.0.2.2/24", "198.51.100.1"),)}, "nics"),
        ({"nics": (NicSetup("nic1", "static", "192.0.2.2/24", "", ("ns1",)),)}, "nics"),
        ({"by": "sysprep", "hostname": "a" * 16}, "hostname"),
        ({"by": "sysprep", "product_key": "123"}, "product_key"),
        ({"by": "sysprep", "locale": "<x>"}, "locale"),
        ({"by": "sysprep", "user": "a/b"}, "user"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(settings, field):
    with pytest.raises(FieldError) as refused:
        checked(FirstBoot(**{"by": "cloud-init"} | settings))
    assert refused.value.field == field


def test_windows_gets_an_answer_file_in_which_nothing_breaks_out():
    settings = checked(
        FirstBoot(
            by="sysprep",
            hostname="PC-1",
            user="Ann",
            password="<&>\"'ü",
            product_key="abcde-fghij-klmno-pqrst-uvwxy",
            time_zone="W. Europe Standard Time",
            organization="</RegisteredOrganization><x>",
            locale="de-DE",
        )
    )
    label, found = files(settings, WEB)
    assert label == "UNATTEND" and set(found) == {"Autounattend.xml", "Unattend.xml"}
    root = etree.fromstring(found["Unattend.xml"].encode())

    def text(tag):
        return root.findtext(f".//u:{tag}", namespaces=UNATTEND)

    assert (text("ComputerName"), text("RegisteredOrganization")) == ("PC-1", "</RegisteredOrganization><x>")
    assert (text("ProductKey/u:Key"), text("UserLocale"), text("LocalAccount/u:Name")) == ("ABCDE-FGHIJ-KLMNO-PQRST-UVWXY", "de-DE", "Ann")
    password = base64.b64decode(text("AdministratorPassword/u:Value")).decode("utf-16-le")
    assert password == "<&>\"'üAdministratorPassword"
    label, iso = read(image(settings, WEB))
    assert label == "UNATTEND" and iso == found


@pytest.mark.parametrize(
    ("name", "login"), [("alice", "alice"), ("Ann Lee@EXAMPLE", "ann-lee"), ("root", "user"), ("1st", "user"), ("日本", "user")]
)
def test_a_login_name_comes_of_the_accounts_name(name, login):
    assert login_for(name) == login
