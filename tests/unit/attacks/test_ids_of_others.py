"""Two slices of one installation: who has every right on the one names objects of the other, in every field, and gets nowhere."""

import json
import uuid

import pytest
from django.test import Client

from accounts import tokens
from accounts.models import Grant, Group, Role, Token, UserKey
from accounts.permissions import grant
from events.models import Event
from hosts.models import Cluster, Host
from jobs.models import Job
from networks.models import Network
from storage.models import Disk, StorageDomain
from tests.build import attach, make_disk, make_host, make_network, make_nic, make_storage, make_template, make_user, make_vm
from vms.models import VM, Template

pytestmark = pytest.mark.django_db
SECRET = "their-secret"


class Slice:
    """A data center with one object of each kind, all named after it."""

    def __init__(self, name):
        self.host = make_host(name=f"{name}-host", address=f"{name}.example", memory_bytes=1 << 40)
        self.cluster, self.center = self.host.cluster, self.host.cluster.data_center
        for row in (self.cluster, self.center):
            row.name = f"{name}-{row.OBJECT_TYPE}"
            row.save()
        self.storage = make_storage(name=f"{name}-storage", data_center=self.center)
        self.network = make_network(name=f"{name}-network", cluster=self.cluster)
        self.iso = make_disk(name=f"{name}-iso", domain=self.storage, content="iso", status="ok")
        self.disk = make_disk(name=f"{name}-disk", domain=self.storage)
        self.template = make_template(name=f"{name}-template", data_center=self.center)
        self.template.disks.set([make_disk(name=f"{name}-base", domain=self.storage, status="ok")])
        self.vm = make_vm(name=f"{name}-vm", host=self.host)
        attach(self.vm, self.disk)
        make_nic(self.vm, self.network)
        self.job = Job.objects.create(kind="vm.start", title=f"{name}-job", object_type="vm", object_id=self.vm.pk)


@pytest.fixture
def ours():
    return Slice("ours")


@pytest.fixture
def theirs():
    return Slice(SECRET)


@pytest.fixture
def mallory(ours, theirs, client):
    """An administrator of our data center alone."""
    make_user("root", role="SuperUser")
    user = make_user("mallory", role="DataCenterAdmin", on=ours.center)
    client.force_login(user)
    return user


@pytest.fixture
def api(mallory):
    _token, text = tokens.create(mallory, "t")

    def call(method, path, body=None):
        return Client().generic(
            method, f"/api/v1{path}", "" if body is None else json.dumps(body), content_type="application/json",
            headers={"Authorization": f"Bearer {text}"},
        )  # fmt: skip

    return call


def state():
    """All that an attack could have changed."""
    models = (VM, Disk, Host, Cluster, Network, StorageDomain, Template, Grant, Group, UserKey)
    return Job.objects.count(), Token.objects.count(), *(sorted(map(str, model._base_manager.values_list())) for model in models)


def vm_body(ours, **change):
    return {"name": "new", "cluster": str(ours.cluster.pk), "template": str(ours.template.pk)} | change


FIELDS = {"cluster": "cluster", "template": "template", "iso": "iso", "network": "network", "storage_domain": "storage", "host": "host"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("by", ["pk", "name"])
def test_a_vm_by_the_api_takes_nothing_of_others(api, ours, theirs, field, by):
    before = state()
    answer = api("POST", "/vms", vm_body(ours, **{field: str(getattr(getattr(theirs, FIELDS[field]), by))}))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert state() == before


def test_an_object_that_others_have_is_answered_as_one_that_nobody_has(api, ours, theirs):
    for field, name in FIELDS.items():
        real, made_up = (api("POST", "/vms", vm_body(ours, **{field: str(key)})) for key in (getattr(theirs, name).pk, uuid.UUID(int=1)))
        assert real.status_code == made_up.status_code
        assert SECRET not in real.content.decode()


@pytest.mark.parametrize("field", ["cluster", "template", "iso", "network", "storage_domain"])
def test_a_vm_by_the_form_takes_nothing_of_others(client, mallory, ours, theirs, field):
    before = state()
    data = {
        "name": "new",
        "memory_mib": "512 MiB",
        "vcpus": 1,
        "cluster": ours.cluster.pk,
        "template": ours.template.pk,
        "firmware": "bios",
    }
    answer = client.post("/vms/new/", data | {field: getattr(theirs, FIELDS[field]).pk})
    assert answer.status_code == 422
    assert field in answer.context["form"].errors
    assert SECRET not in answer.content.decode()
    assert state() == before


def test_our_own_are_taken(api, ours):
    """What the refusals above are worth: the same body with our own objects is good."""
    whole = {field: str(getattr(ours, name).pk) for field, name in FIELDS.items()}
    assert api("POST", "/vms", vm_body(ours, **whole)).status_code == 202


@pytest.mark.parametrize("field", ["template", "cluster", "network"])
def test_the_portals_form_takes_nothing_of_others(client, ours, theirs, field):
    make_user("root", role="SuperUser")
    person = make_user("anna", role="PowerUserRole", on=ours.center)
    extra = make_host(cluster=Cluster.objects.create(name="ours-second", data_center=ours.center))
    make_network(cluster=extra.cluster)
    client.force_login(person)
    before = state()
    answer = client.post("/my/new/", {"name": "new", "template": ours.template.pk} | {field: getattr(theirs, field).pk})
    assert answer.status_code == 422
    assert SECRET not in answer.content.decode()
    assert state() == before


def test_run_once_takes_no_iso_of_others(client, api, mallory, ours, theirs):
    before = state()
    assert client.post(f"/vms/{ours.vm.pk}/run-once/", {"iso": theirs.iso.pk}).status_code == 422
    assert api("POST", f"/vms/{ours.vm.pk}/run_once", {"iso": str(theirs.iso.pk)}).status_code == 422
    assert state() == before


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/hosts/new/", {"name": "n", "address": "192.0.2.77", "transport": "ssh", "ssh_user": "root", "cluster": "cluster"}),
        ("/clusters/new/", {"name": "n", "cpu_model": "qemu64", "data_center": "center"}),
        ("/storage/new/", {"name": "n", "kind": "shared_dir", "path": "/srv/x", "data_center": "center"}),
        ("/disks/new/", {"name": "n", "capacity_bytes": "1 GiB", "domain": "storage"}),
        ("/networks/new/", {"name": "n", "forward": "isolated", "cluster": "cluster"}),
    ],
)
def test_nothing_is_made_inside_what_others_have(client, mallory, theirs, path, data):
    before = state()
    sent = {key: getattr(getattr(theirs, str(value), None), "pk", value) for key, value in data.items()}
    answer = client.post(path, sent)
    assert answer.status_code in (403, 422)
    assert SECRET not in answer.content.decode()
    assert state() == before


def test_hosts_and_templates_by_the_api_take_nothing_of_others(api, ours, theirs):
    before = state()
    for key in (str(theirs.cluster.pk), theirs.cluster.name):
        assert api("POST", "/hosts", {"name": "n", "address": "192.0.2.77", "transport": "ssh", "cluster": key}).status_code == 422
    for key in (str(theirs.vm.pk), theirs.vm.name):
        assert api("POST", "/templates", {"name": "n", "vm": key}).status_code == 422
    for method, path in (("PATCH", f"/vms/{theirs.vm.pk}"), ("DELETE", f"/vms/{theirs.vm.pk}"), ("POST", f"/vms/{theirs.vm.pk}/start"),
                         ("POST", f"/hosts/{theirs.host.pk}/remove"), ("POST", f"/jobs/{theirs.job.pk}/cancel")):  # fmt: skip
        assert api(method, path, {}).status_code == 404
    assert state() == before


def test_a_selection_passes_over_the_vms_of_others(client, mallory, ours, theirs):
    before = VM.objects.filter(pk=theirs.vm.pk).values_list().get()
    answer = client.post("/vms/bulk/", {"action": "start", "ids": [str(ours.vm.pk), str(theirs.vm.pk)]})
    assert SECRET not in answer.content.decode()
    answer = client.post("/vms/bulk/", {"action": "start", "all": ""})
    assert SECRET not in answer.content.decode()
    assert VM.objects.filter(pk=theirs.vm.pk).values_list().get() == before
    assert not Job.objects.filter(object_id=theirs.vm.pk).exclude(pk=theirs.job.pk).exists()


def test_no_grant_on_what_others_have_and_no_word_of_its_name(client, mallory, theirs):
    before = state()
    role, friend = Role.objects.get(name="UserRole"), make_user("friend")
    for kind, name in (("vm", "vm"), ("host", "host"), ("cluster", "cluster"), ("data_center", "center"), ("disk", "disk"), ("network", "network"),
                       ("template", "template"), ("storage_domain", "storage")):  # fmt: skip
        data = {"role": role.pk, "user": friend.pk, "object_type": kind, "object_id": getattr(theirs, name).pk}
        answer = client.post("/grants/give/", data, follow=True)
        assert SECRET not in answer.content.decode(), kind
        # The right id under the name of another kind is no way round.
        client.post("/grants/give/", data | {"object_type": "system", "object_id": ""})
        client.post("/grants/give/", data | {"object_type": "cluster" if kind != "cluster" else "vm"})
    held = grant("UserRole", theirs.vm, user=friend)
    answer = client.post(f"/grants/{held.pk}/withdraw/", follow=True)
    assert SECRET not in answer.content.decode()
    held.refresh_from_db()
    held.delete()
    assert state() == before


def test_a_vms_owner_shares_and_unshares_only_their_own(client, ours, theirs):
    anna, friend = make_user("anna", role="UserVmManager", on=ours.vm), make_user("friend")
    on_theirs = grant("UserRole", theirs.vm, user=friend)
    system = grant("SuperUser", user=make_user("root"))
    client.force_login(anna)
    before = state()
    for held in (on_theirs, system):
        client.post(f"/my/vms/{ours.vm.pk}/unshare/", {"grant": str(held.pk)})
        client.post(f"/grants/{held.pk}/withdraw/")
    client.post(f"/my/vms/{theirs.vm.pk}/share/", {"who": "friend", "role": "UserRole"})
    client.post(f"/my/vms/{ours.vm.pk}/share/", {"who": "friend", "role": "SuperUser"})
    client.post(f"/my/vms/{ours.vm.pk}/share/", {"who": "no-group-of-mine", "role": "UserRole"})
    assert state() == before


def test_keys_and_tokens_of_others_stay(client, ours):
    owner, thief = make_user("owner"), make_user("thief")
    token, _text = tokens.create(owner, "t")
    key = UserKey.objects.create(user=owner, name="k", public_key="ssh-ed25519 AAAA", fingerprint="SHA256:k")
    client.force_login(thief)
    before = state()
    for path in (f"/me/tokens/{token.pk}/delete/", f"/tokens/{token.pk}/delete/", f"/me/keys/{key.pk}/delete/"):
        assert client.post(path).status_code in (403, 404)
    assert state() == before


@pytest.mark.parametrize(
    "role", ["DataCenterAdmin", "ClusterAdmin", "HostAdmin", "StorageAdmin", "NetworkAdmin", "VmCreator", "PowerUserRole"]
)
def test_no_page_of_ones_own_names_what_others_have_beside_it(client, role):
    """In one data center: who sees a container does not see by it what inside is hidden from them."""
    place = Slice(SECRET)
    user = make_user(role="TemplateUser", on=place.template)
    Grant.objects.all().delete()
    make_user("root", role="SuperUser")
    seen = {name: getattr(place, name) for name in ("center", "cluster", "host", "storage", "network", "disk", "vm")}
    for name, row in seen.items():
        type(row).objects.filter(pk=row.pk).update(name=f"{SECRET}-{name}-x")
    spot = place.cluster if role in ("ClusterAdmin", "HostAdmin", "NetworkAdmin", "VmCreator") else place.center
    grant(role, spot, user=user)
    client.force_login(user)
    visible = {name for name, row in seen.items() if type(row).objects.visible_to(user).filter(pk=row.pk).exists()}
    for name in visible - {"vm", "disk"}:  # what a VM hangs on, and what holds a disk, are facts of its own
        text = client.get(seen[name].get_absolute_url()).content.decode()
        for hidden in set(seen) - visible - {"center"}:
            assert f"{SECRET}-{hidden}-x" not in text, f"the page of the {name} names the hidden {hidden}"


def test_lists_events_and_searches_name_nothing_of_others(client, mallory, theirs):
    from events.log import record

    record("vm.edited", f"{SECRET}-event", obj=theirs.vm)
    for path in ("/", "/vms/", "/hosts/", "/clusters/", "/data-centers/", "/storage/", "/disks/", "/networks/", "/templates/", "/jobs/", "/jobs/tray/", "/events/",
                 f"/search/?q={SECRET}", "/vms/new/", "/my/new/", "/disks/new/", "/hosts/new/", "/networks/new/"):  # fmt: skip
        text = client.get(path).content.decode()
        assert SECRET not in text.replace(f'value="{SECRET}"', "").replace(f"«{SECRET}»", ""), path
    assert Event.objects.filter(message=f"{SECRET}-event").exists()
